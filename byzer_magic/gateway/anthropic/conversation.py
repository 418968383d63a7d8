"""A conversation in Anthropic's form as ours, which is OpenAI's: https://platform.claude.com/docs/en/api/messages.

What only Claude's own API understands (documents, tools of the server, cache marks) stays as it is for Claude, and is
refused or left out for all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from byzer_magic.backends.http.tool_calls import as_text
from byzer_magic.gateway.problems import Problem, bad
from byzer_magic.i18n import gettext as _

THOUGHTS = ("thinking", "redacted_thinking")


def messages(system: str | list[dict[str, Any]] | None, turns: list[dict[str, Any]], *, claude: bool) -> list[Any]:
    """Return a conversation as `to_messages` takes it.

    Args:
        system: the system prompt.
        turns: the conversation.
        claude: whether Anthropic's own API will answer.

    Raises:
        Problem: a block is not valid, or is one that only Claude understands.

    Example:
        >>> messages("Be brief.", [{"role": "user", "content": "Hi"}], claude=False)
        [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Hi'}]
    """
    found: list[Any] = []
    if system:
        parts = system if isinstance(system, list) else []
        content = _joined([_part(block, "system", claude=claude) for block in parts]) if parts else system
        found.append({"role": "system", "content": content})
    for number, turn in enumerate(turns):
        found += _turn(turn, f"messages.{number}", claude=claude)
    return found


def _turn(turn: Mapping[str, Any], place: str, *, claude: bool) -> list[dict[str, Any]]:
    role, content = turn.get("role"), turn.get("content")
    if role not in ("user", "assistant", "system"):
        raise bad(_("{name} is not user or assistant.", name=f"{place}.role"), f"{place}.role")
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise bad(_("{name} is neither a text nor a list of blocks.", name=f"{place}.content"), f"{place}.content")
    if role == "assistant":
        return [_assistant(content, place, claude=claude)]
    return _user(str(role), content, place, claude=claude)


def _assistant(content: list[dict[str, Any]], place: str, *, claude: bool) -> dict[str, Any]:
    calls = [_call(block, place) for block in content if block.get("type") == "tool_use"]
    parts = [
        _part(block, place, claude=claude)
        for block in content
        if block.get("type") != "tool_use" and _is_kept(block, claude=claude)
    ]
    found: dict[str, Any] = {"role": "assistant", "content": _joined(parts)}
    return found | ({"tool_calls": calls} if calls else {})


def _is_kept(block: Mapping[str, Any], *, claude: bool) -> bool:
    """Return whether a block is sent on: thoughts only to Claude, and only with the signature that it checks."""
    return block.get("type") not in THOUGHTS or (claude and bool(block.get("signature") or block.get("data")))


def _call(block: Mapping[str, Any], place: str) -> dict[str, Any]:
    name, identity = block.get("name"), block.get("id")
    if not (isinstance(name, str) and isinstance(identity, str)):
        raise bad(_("{name} has a tool_use block without id or name.", name=place), place)
    function = {"name": name, "arguments": as_text(block.get("input") or {})}
    return {"id": identity, "type": "function", "function": function}


def _user(role: str, content: list[dict[str, Any]], place: str, *, claude: bool) -> list[dict[str, Any]]:
    """Return a user's turn: the results of tools, each a message of its own, and what else is in it."""
    results, images = [], []
    for block in content:
        if block.get("type") == "tool_result":
            result, seen = _result(block, place, claude=claude)
            results.append(result)
            images += seen
    parts = [_part(block, place, claude=claude) for block in content if block.get("type") != "tool_result"]
    rest = [*images, *parts]
    return [*results, *([{"role": role, "content": _joined(rest)}] if rest else [])]


def _result(block: Mapping[str, Any], place: str, *, claude: bool) -> tuple[dict[str, Any], list[Any]]:
    """Return the result of a tool, and its images, where they must be in a message of the user."""
    identity, content = block.get("tool_use_id"), block.get("content") or ""
    if not isinstance(identity, str):
        raise bad(_("{name} has a tool_result block without tool_use_id.", name=place), place)
    inner = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(inner, list) or not all(isinstance(item, dict) for item in inner):
        raise bad(_("{name} is neither a text nor a list of blocks.", name=f"{place}.tool_result.content"), place)
    if block.get("is_error"):
        inner = [{"type": "text", "text": "Error:"}, *inner]
    parts = [_part(item, place, claude=claude) for item in inner]
    texts = [part for part in parts if part.get("type") == "text"]
    images = [] if claude else [part for part in parts if part.get("type") == "image_url"]
    kept = _joined(parts if claude else texts)
    return {"role": "tool", "tool_call_id": identity, "content": kept}, images


def _joined(parts: list[dict[str, Any]]) -> Any:
    """Return parts that are all plain text as one text."""
    if all(part.keys() == {"type", "text"} and part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(block: Mapping[str, Any], place: str, *, claude: bool) -> dict[str, Any]:
    kind = block.get("type")
    if kind == "text" and isinstance(block.get("text"), str):
        return dict(block) if claude else {"type": "text", "text": block["text"]}
    if kind == "image":
        return _image(block.get("source"), place)
    if claude and isinstance(kind, str) and kind != "text":
        return dict(block)
    source = block.get("source")
    if kind == "document" and isinstance(source, dict) and source.get("type") == "text":
        return {"type": "text", "text": str(source.get("data", ""))}
    raise bad(
        _("{name} has a block of type {kind}, which this model does not take.", name=place, kind=repr(kind)), place
    )


def _image(source: Any, place: str) -> dict[str, Any]:
    if isinstance(source, dict):
        if source.get("type") == "base64" and isinstance(source.get("data"), str):
            url = f"data:{source.get('media_type', 'image/png')};base64,{source['data']}"
            return {"type": "image_url", "image_url": {"url": url}}
        if source.get("type") == "url" and isinstance(source.get("url"), str):
            return {"type": "image_url", "image_url": {"url": source["url"]}}
    raise bad(_("{name} has an image without base64 data or URL.", name=place), place)


# ---- options


def tools(given: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return tools in OpenAI's form.

    Raises:
        Problem: one is a tool of Anthropic's server, or not valid.

    Example:
        >>> tools([{"name": "f", "input_schema": {"type": "object"}}])
        [{'type': 'function', 'function': {'name': 'f', 'parameters': {'type': 'object'}}}]
    """
    found = []
    for number, tool in enumerate(given):
        name = tool.get("name")
        if not isinstance(tool.get("input_schema"), dict) or not isinstance(name, str):
            raise _no_tool(number, tool)
        function = {"name": name, "description": tool.get("description"), "parameters": tool["input_schema"]}
        found.append({"type": "function", "function": {key: value for key, value in function.items() if value}})
    return found


def _no_tool(number: int, tool: Mapping[str, Any]) -> Problem:
    place = f"tools.{number}"
    if "input_schema" not in tool and str(tool.get("type", "custom")) != "custom":
        message = _("{name} is the tool {kind}, which only Anthropic's own models have.", name=place, kind=tool["type"])
        return bad(message, place)
    return bad(_("{name} needs a name and an input_schema.", name=place), place)


def tool_choice(given: Mapping[str, Any]) -> Any:
    """Return which tool is to be called, in OpenAI's form.

    Example:
        >>> tool_choice({"type": "any"}), tool_choice({"type": "tool", "name": "f"})
        ('required', {'type': 'function', 'function': {'name': 'f'}})
    """
    if given.get("type") == "tool":
        return {"type": "function", "function": {"name": given.get("name")}}
    return {"any": "required"}.get(str(given.get("type")), given.get("type"))
