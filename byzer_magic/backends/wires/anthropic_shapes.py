"""Anthropic's Messages as plain data: a request's body from ours, and `ChatChunk` from its messages and events.

Shapes: https://platform.claude.com/docs/en/api/messages and .../build-with-claude/streaming. Bedrock's InvokeModel
carries the same body, with a version in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from byzer_magic.backends.wires.failures import Fault
from byzer_magic.backends.wires.media import encoded
from byzer_magic.backends.wires.turns import media_of, text_of, tool_call
from byzer_magic.errors import BadRequest
from byzer_magic.types import ChatChunk, ChatRequest, Media, Message, Usage

MAX_TOKENS = 8192
"""The API wants a limit; this one when nobody has given any."""
SAMPLING = ("temperature", "top_p", "top_k")
"""What the newest version of the API refuses, and the older ones know."""
FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_SAME = (*SAMPLING, "thinking", "metadata", "service_tier", "context_management", "output_config", "container")
"""Fields that Anthropic knows by these names."""


def body(request: ChatRequest, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a request, without `model` and `stream`; `defaults` are options that the request may override.

    Raises:
        BadRequest: it asks for something that Anthropic's API does not have.
    """
    asked = {**defaults, **{name: value for name, value in request.options.items() if value is not None}}
    extra = asked.pop("extra_body", {})
    turns = [turn for turn in request.messages if turn.role not in ("system", "developer")]
    system = "\n\n".join(text_of(turn) for turn in request.messages if turn.role in ("system", "developer"))
    limit = asked.pop("max_completion_tokens", None) or asked.pop("max_tokens", None) or MAX_TOKENS
    asked.pop("max_tokens", None)
    found: dict[str, Any] = {"max_tokens": limit, "messages": _joined([_turn(turn) for turn in turns])}
    if system:
        found["system"] = system
    for name, value in asked.items():
        found |= _option(name, value)
    return {**found, **extra}


def _option(name: str, value: Any) -> dict[str, Any]:
    """Return an option of OpenAI's in Anthropic's words."""
    if name in _SAME:
        return {name: value}
    if name == "stop":
        return {"stop_sequences": [value] if isinstance(value, str) else list(value)}
    if name == "tools":
        return {"tools": [_tool(tool) for tool in value]}
    if name == "tool_choice":
        return {"tool_choice": _choice(value)}
    if name == "user":
        return {"metadata": {"user_id": value}}
    if name == "response_format":
        return _format(value)
    if name == "reasoning_effort":
        return {"output_config": {"effort": value}}
    if name in ("n", "stream_options", "parallel_tool_calls") and value in (1, True, None):
        return {}
    raise BadRequest(f"Anthropic's API has no {name}.", "Leave it out, or put the API's own fields into extra_body.")


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if not isinstance(function, Mapping):
        return dict(tool)  # one of Anthropic's own
    found = {"name": function["name"], "input_schema": function.get("parameters") or {"type": "object"}}
    return found | ({"description": function["description"]} if function.get("description") else {})


def _choice(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        name = value.get("function", {}).get("name")
        return {"type": "tool", "name": name} if name else dict(value)
    return {"type": {"required": "any"}.get(value, value)}


def _format(value: Any) -> dict[str, Any]:
    """Return how the answer is to be shaped: https://platform.claude.com/docs/en/build-with-claude/structured-outputs."""
    if isinstance(value, Mapping) and value.get("type") == "json_schema":
        schema = value["json_schema"].get("schema", {})
        return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    if value in ("text", {"type": "text"}):
        return {}
    raise BadRequest(
        "Anthropic's API knows JSON by a schema only.", 'Use {"type": "json_schema", "json_schema": {...}}.'
    )


def _turn(turn: Message) -> dict[str, Any]:
    if turn.role == "tool":
        result = {"type": "tool_result", "tool_use_id": turn.tool_call_id, "content": text_of(turn)}
        return {"role": "user", "content": [result]}
    if isinstance(turn.content, list):
        blocks = [_block(part) for part in turn.content]
    else:
        blocks = [{"type": "text", "text": turn.content}] if turn.content else []
    for call in turn.tool_calls or []:
        function = call["function"]
        given = json.loads(function.get("arguments") or "{}")
        blocks.append({"type": "tool_use", "id": call["id"], "name": function["name"], "input": given})
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return {"role": turn.role, "content": blocks[0]["text"]}
    return {"role": turn.role, "content": blocks}


def _joined(turns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return turns with the results of several tools in one, as the API wants them."""
    found: list[dict[str, Any]] = []
    for turn in turns:
        if found and _is_result(turn) and _is_result(found[-1]):
            found[-1] = {**found[-1], "content": [*found[-1]["content"], *turn["content"]]}
        else:
            found.append(turn)
    return found


def _is_result(turn: Mapping[str, Any]) -> bool:
    content = turn["content"]
    return isinstance(content, list) and bool(content) and content[0]["type"] == "tool_result"


def _block(part: Any) -> dict[str, Any]:
    media = media_of(part)
    block: dict[str, Any] = part if media is None else _image(media)
    return block


def _image(media: Media) -> dict[str, Any]:
    if not media.is_image:
        raise BadRequest("Anthropic's API takes no sounds.", "Write them down first, with a model that can transcribe.")
    if media.url:
        return {"type": "image", "source": {"type": "url", "url": media.url}}
    return {"type": "image", "source": {"type": "base64", "media_type": media.mime, "data": encoded(media)}}


class Reader:
    """Reads the events of one stream."""

    def __init__(self) -> None:
        self.finished = False
        """Whether the provider has said that the answer is complete."""
        self._tools: dict[int, int] = {}
        """Which tool call the content block of that index is."""
        self._prompt_tokens = 0
        self._about: dict[str, Any] = {}

    def chunk(self, event: Mapping[str, Any]) -> ChatChunk | None:
        """Return what an event adds to the answer, or None.

        Raises:
            Fault: the event is an error.
        """
        kind = event.get("type")
        if kind == "error":
            raise Fault(event)
        if kind == "message_start":
            message = event["message"]
            self._prompt_tokens = _prompt_tokens(message.get("usage") or {})
            self._about = {name: message[name] for name in ("id", "model") if message.get(name)}
        elif kind == "content_block_start" and event["content_block"]["type"] == "tool_use":
            block = event["content_block"]
            self._tools[event["index"]] = index = len(self._tools)
            call = tool_call(index, block["name"], block["id"])
            return ChatChunk(tool_calls=[call])
        elif kind == "content_block_delta":
            return self._delta(event["index"], event["delta"])
        elif kind == "message_delta":
            usage = Usage(self._prompt_tokens, (event.get("usage") or {}).get("output_tokens") or 0)
            reason = event["delta"].get("stop_reason")
            return ChatChunk(finish=FINISHES.get(reason, reason), usage=usage, extra=self._about or None)
        self.finished = self.finished or kind == "message_stop"
        return None

    def _delta(self, index: int, delta: Mapping[str, Any]) -> ChatChunk | None:
        if delta["type"] == "text_delta":
            return ChatChunk(delta["text"])
        if delta["type"] == "thinking_delta":
            return ChatChunk(reasoning=delta["thinking"])
        if delta["type"] == "input_json_delta" and index in self._tools:
            return ChatChunk(
                tool_calls=[{"index": self._tools[index], "function": {"arguments": delta["partial_json"]}}]
            )
        return None


def whole(message: Mapping[str, Any]) -> ChatChunk:
    """Return a complete message.

    Raises:
        Fault: it is an error.
    """
    if message.get("type") == "error":
        raise Fault(message)
    blocks = message["content"]
    uses = [block for block in blocks if block["type"] == "tool_use"]
    calls = [tool_call(index, use["name"], use["id"], use["input"]) for index, use in enumerate(uses)]
    usage = message.get("usage") or {}
    return ChatChunk(
        "".join(block["text"] for block in blocks if block["type"] == "text"),
        "".join(block.get("thinking", "") for block in blocks if block["type"] == "thinking"),
        FINISHES.get(message.get("stop_reason") or "", message.get("stop_reason")),
        Usage(_prompt_tokens(usage), usage.get("output_tokens") or 0),
        calls or None,
        {name: message[name] for name in ("id", "model") if message.get(name)} or None,
    )


def _prompt_tokens(usage: Mapping[str, Any]) -> int:
    """Return all tokens of the prompt: those that a cache held are counted apart."""
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return sum(usage.get(name) or 0 for name in names)
