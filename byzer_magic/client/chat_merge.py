"""Merging what a chat streams in pieces beside its text: tool calls, log probabilities, other choices."""

from __future__ import annotations

from typing import Any


def add_tool_call(calls: dict[int, dict[str, Any]], delta: dict[str, Any]) -> None:
    """Add a delta to the tool calls so far, by its `index`: OpenAI streams a call's arguments in pieces.

    See https://platform.openai.com/docs/api-reference/chat-streaming.

    Example:
        >>> calls = {}
        >>> add_tool_call(calls, {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{"}})
        >>> add_tool_call(calls, {"index": 0, "function": {"arguments": "}"}})
        >>> calls[0]["function"]
        {'name': 'f', 'arguments': '{}'}
    """
    index = delta.get("index")
    empty = {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
    call = calls.setdefault(len(calls) if index is None else index, empty)
    call["id"] = delta.get("id") or call["id"]
    function = delta.get("function") or {}
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""


def add_extra(so_far: dict[str, Any], extra: dict[str, Any]) -> None:
    """Add a chunk's further fields: log probabilities and other choices grow, any other field is replaced."""
    for name, value in extra.items():
        if name == "logprobs" and isinstance(value, dict) and isinstance(so_far.get(name, {}), dict):
            known = so_far.setdefault(name, {})
            for part, tokens in value.items():
                known.setdefault(part, []).extend(tokens or [])
        elif name == "choices":
            for choice in value:
                _add_choice(so_far.setdefault(name, []), choice)
        elif value is not None:
            so_far[name] = value


def _add_choice(choices: list[dict[str, Any]], delta: dict[str, Any]) -> None:
    known = next((choice for choice in choices if choice["index"] == delta["index"]), None)
    if known is None:
        choices.append(dict(delta))
        return
    known["text"] += delta["text"]
    known["finish"] = delta["finish"] or known["finish"]
