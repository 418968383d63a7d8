"""The items of a request as messages, and its fields as options.

See https://developers.openai.com/api/reference/resources/responses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from byzer_magic.gateway.problems import bad
from byzer_magic.i18n import gettext as _

TEXTS = ("input_text", "output_text", "text", "summary_text", "refusal")
FORGOTTEN = ("reasoning",)
"""Items that only OpenAI's own models read again."""


def messages(given: str | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the input of a request as messages of a chat.

    Raises:
        Problem: an item is not valid, or only OpenAI knows it.

    Example:
        >>> messages("Hi")
        [{'role': 'user', 'content': 'Hi'}]
    """
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    found: list[dict[str, Any]] = []
    for number, item in enumerate(given):
        kind, place = item.get("type", "message"), f"input[{number}]"
        if kind == "message":
            found.append({"role": item.get("role"), "content": _content(item.get("content"), f"{place}.content")})
        elif kind == "function_call":
            _add_call(found, item, place)
        elif kind == "function_call_output":
            output = _content(item.get("output"), f"{place}.output")
            found.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": output})
        elif kind not in FORGOTTEN:
            raise bad(
                _("{name} is of type {kind}, which this endpoint does not know.", name=place, kind=repr(kind)), place
            )
    return found


def _add_call(found: list[dict[str, Any]], item: Mapping[str, Any], place: str) -> None:
    """Add a tool call: to the model's turn before it, where there is one."""
    name, identity, arguments = item.get("name"), item.get("call_id"), item.get("arguments", "")
    if not all(isinstance(value, str) for value in (name, identity, arguments)):
        raise bad(_("{name} needs name, call_id and arguments.", name=place), place)
    call = {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments or "{}"}}
    if found and found[-1]["role"] == "assistant":
        found[-1] = {**found[-1], "tool_calls": [*found[-1].get("tool_calls", []), call]}
    else:
        found.append({"role": "assistant", "content": None, "tool_calls": [call]})


def _content(value: Any, place: str) -> Any:
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
        raise bad(_("{name} is neither a text nor a list of parts.", name=place), place)
    parts = [_part(part, place) for part in value]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _part(part: Mapping[str, Any], place: str) -> dict[str, Any]:
    kind = part.get("type")
    if kind in TEXTS:
        return {"type": "text", "text": str(part.get("text", part.get("refusal", "")))}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}
    if kind == "input_audio" and isinstance(part.get("input_audio"), dict):
        return dict(part)
    raise bad(
        _("{name} has a part of type {kind}, which this endpoint does not know.", name=place, kind=repr(kind)), place
    )


def tools(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return tools in the form of a chat.

    Raises:
        Problem: one is not a function: this endpoint runs no tools itself.

    Example:
        >>> tools([{"type": "function", "name": "f", "parameters": {}}])
        [{'type': 'function', 'function': {'name': 'f', 'parameters': {}}}]
    """
    found = []
    for number, tool in enumerate(given):
        if tool.get("type") != "function" or not isinstance(tool.get("name"), str):
            raise bad(
                _("{name} is of type {kind}: this endpoint knows functions only.",
                  name=f"tools[{number}]", kind=repr(tool.get("type"))),
                f"tools[{number}]",
            )  # fmt: skip
        names = ("name", "description", "parameters", "strict")
        found.append({"type": "function", "function": {key: tool[key] for key in names if tool.get(key) is not None}})
    return found


def options(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request that a chat has under another name.

    Example:
        >>> options({"max_output_tokens": 5, "text": {"format": {"type": "json_object"}}})
        {'max_tokens': 5, 'response_format': {'type': 'json_object'}}
    """
    found: dict[str, Any] = {}
    if body.get("max_output_tokens") is not None:
        found["max_tokens"] = body["max_output_tokens"]
    if body.get("tools"):
        found["tools"] = tools(body["tools"])
    choice = body.get("tool_choice")
    if isinstance(choice, Mapping) and choice.get("type") == "function":
        found["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    elif isinstance(choice, str):
        found["tool_choice"] = choice
    if effort := (body.get("reasoning") or {}).get("effort"):
        found["reasoning_effort"] = effort
    form = (body.get("text") or {}).get("format") or {}
    if form.get("type") == "json_schema":
        inner = {key: form[key] for key in ("name", "schema", "strict", "description") if form.get(key) is not None}
        found["response_format"] = {"type": "json_schema", "json_schema": inner}
    elif form.get("type") == "json_object":
        found["response_format"] = {"type": "json_object"}
    return found
