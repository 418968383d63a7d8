"""Anthropic's Messages as plain data: requests to its schema, and `ChatChunk` from its messages and events.

Fields: https://platform.claude.com/docs/en/api/messages and .../build-with-claude/streaming. Bedrock's InvokeModel
takes the same body, with a version in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from byzer_magic.backends.http import reasons, tool_calls
from byzer_magic.backends.http.answers import AnswerReader
from byzer_magic.backends.http.coercion import count_in, text_in
from byzer_magic.backends.http.errors import ErrorResponse, Unreadable
from byzer_magic.backends.http.finishes import finish_of
from byzer_magic.backends.http.json_reader import JsonReader
from byzer_magic.backends.http.media import to_base64
from byzer_magic.backends.http.messages import is_blank, media_of, sendable, text_of, tool_call
from byzer_magic.backends.http.sse import DONE
from byzer_magic.errors import BadRequest
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import STOPPED_AT, ChatChunk, ChatRequest, Media, Message, Usage

MAX_TOKENS = 8192
"""The API requires a limit; this one is sent when the request has none."""
SAMPLING = ("temperature", "top_p", "top_k")
"""Fields that the newest version of the API rejects and older ones accept."""
FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_SAME = (
    *SAMPLING, "thinking", "metadata", "service_tier", "context_management", "output_config", "container",
    "cache_control", "inference_geo", "speed",
)  # fmt: skip
"""Fields that have the same name in Anthropic's API."""


def body(request: ChatRequest, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a request, without `model` and `stream`.

    Args:
        request: the request.
        defaults: options of the deployment, which those of the request override.

    Raises:
        BadRequest: the request has options or media that Anthropic's API does not have.

    Example:
        >>> body(ChatRequest(messages=[Message("user", "Hi")], options={"stop": "END"}), {"max_tokens": 10})
        {'max_tokens': 10, 'messages': [{'role': 'user', 'content': 'Hi'}], 'stop_sequences': ['END']}
    """
    options = {**defaults, **{name: value for name, value in request.options.items() if value is not None}}
    extra = {**defaults.get("extra_body", {}), **options.pop("extra_body", {})}
    turns = sendable([turn for turn in request.messages if turn.role not in ("system", "developer")])
    system = _system([turn for turn in request.messages if turn.role in ("system", "developer")])
    limit = options.pop("max_tokens", MAX_TOKENS)  # 0 is a limit, too: it only fills the prompt cache
    limit = options.pop("max_completion_tokens", limit)
    found: dict[str, Any] = {"max_tokens": limit, "messages": _ended(_joined([_turn(turn) for turn in turns]))}
    if system:
        found["system"] = system
    parallel = options.pop("parallel_tool_calls", None)
    for name, value in options.items():
        found |= _option(name, value)
    if parallel is False and "tools" in found and options.get("tool_choice") != "none":
        found["tool_choice"] = {"type": "auto", **found.get("tool_choice", {}), "disable_parallel_tool_use": True}
    return {**found, **extra}


def _option(name: str, value: Any) -> dict[str, Any]:
    """Return an option of OpenAI's as fields of Anthropic's."""
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
    if name in ("n", "stream_options") and value in (1, None):
        return {}
    raise BadRequest(
        _("Anthropic's API has no option {name}.", name=name),
        _("Remove it, or put the API's own fields into extra_body."),
    )


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
    """Return the format of the response: https://platform.claude.com/docs/en/build-with-claude/structured-outputs."""
    if isinstance(value, Mapping) and value.get("type") == "json_schema":
        schema = value["json_schema"].get("schema", {})
        return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    if value in ("text", {"type": "text"}):
        return {}
    raise BadRequest(
        _("Anthropic's API returns JSON only with a schema."),
        _("Use a response_format such as {example}", example='{"type": "json_schema", "json_schema": {...}}'),
    )


def _system(turns: Sequence[Message]) -> str | list[dict[str, Any]]:
    """Return the system prompt: text, or blocks where a part has more than text (`cache_control`)."""
    blocks = [block for turn in turns for block in _blocks(turn)]
    if any(block.keys() != {"type", "text"} for block in blocks):
        return blocks
    return "\n\n".join(filter(str.strip, map(text_of, turns)))


def _turn(turn: Message) -> dict[str, Any]:
    blocks = _blocks(turn)
    if turn.role == "tool":
        content = blocks if isinstance(turn.content, list) else text_of(turn)
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": turn.tool_call_id}
        result |= {"content": content} if not isinstance(content, str) or content.strip() else {}
        return {"role": "user", "content": [result]}
    for call in turn.tool_calls or []:
        given = {"name": tool_calls.name_of(call), "input": tool_calls.arguments_of(call)}
        blocks.append({"type": "tool_use", "id": call["id"], **given})
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return {"role": turn.role, "content": blocks[0]["text"]}
    return {"role": turn.role, "content": blocks}


def _joined(turns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return turns with consecutive tool results in one, as the API requires."""
    found: list[dict[str, Any]] = []
    for turn in turns:
        if found and _is_result(turn) and _is_result(found[-1]):
            found[-1] = {**found[-1], "content": [*found[-1]["content"], *turn["content"]]}
        else:
            found.append(turn)
    return found


def _ended(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return turns of which the last, if it is the model's to be continued, has text that ends in no white space."""
    if not turns or turns[-1]["role"] != "assistant":
        return turns
    content = turns[-1]["content"]
    if isinstance(content, str):
        content = content.rstrip()
    elif content and content[-1].get("type") == "text":
        content = [*content[:-1], {**content[-1], "text": content[-1]["text"].rstrip()}]
    return [*turns[:-1], *([{**turns[-1], "content": content}] if content else [])]


def _is_result(turn: Mapping[str, Any]) -> bool:
    content = turn["content"]
    return isinstance(content, list) and bool(content) and content[0]["type"] == "tool_result"


def _blocks(turn: Message) -> list[dict[str, Any]]:
    if isinstance(turn.content, list):
        return [_block(part) for part in turn.content if not is_blank(part)]
    return [{"type": "text", "text": turn.content}] if turn.content and turn.content.strip() else []


def _block(part: Any) -> dict[str, Any]:
    media = media_of(part)
    block: dict[str, Any] = part if media is None else _image(media)
    return block


def _image(media: Media) -> dict[str, Any]:
    if not media.is_image:
        raise BadRequest(
            _("Anthropic's API does not accept audio."), _("Transcribe it first, with a speech-to-text model.")
        )
    if media.url:
        return {"type": "image", "source": {"type": "url", "url": media.url}}
    return {"type": "image", "source": {"type": "base64", "media_type": media.mime, "data": to_base64(media)}}


class Reader(AnswerReader):
    """Reads the events of one stream, or a complete message."""

    def __init__(self) -> None:
        super().__init__()
        self._json: JsonReader[dict[str, Any]] = JsonReader(dict[str, Any])
        self._tools: dict[Any, int] = {}
        """Which tool call the content block of that index is."""
        self._inputs: dict[Any, Any] = {}
        """Arguments at the start of a call, until their first delta arrives."""
        self._usage: dict[str, Any] = {}
        self._about: dict[str, Any] = {}

    def read(self, event: bytes | Mapping[str, Any]) -> ChatChunk | None:
        """Return what an event adds to the response, or None.

        Raises:
            ErrorResponse: the event is an error.
            Unreadable: it is not JSON.
        """
        found = self._loaded(event) if isinstance(event, bytes) else event
        if not isinstance(found, Mapping):
            return None
        kind = found.get("type")
        if kind == "message":
            return self._message(found)
        if kind not in _EVENTS:
            self._keep(found)
            return None
        self.begun = True
        self.finished = self.finished or kind == "message_stop"
        self.over = self.finished and kind == "message_stop"
        return self._event(kind, found)

    def _loaded(self, event: bytes) -> Any:
        if event in (b"", DONE):
            return None
        try:
            found = self._json.loads(event)
        except ValueError as err:
            raise Unreadable(str(err)) from None
        self.repaired = self._json.repaired
        return found[0] if isinstance(found, list) and found else found

    def _message(self, message: Mapping[str, Any]) -> ChatChunk:
        """Return a complete message, as some servers send it to a streaming request, too."""
        chunk = complete(message)
        self.finished = bool(chunk.text or chunk.reasoning or chunk.tool_calls)
        return chunk

    def _keep(self, event: Mapping[str, Any]) -> None:
        """Keep an event that does not belong to a message; raise it if it is an error."""
        if event.get("type") == "error" or reasons.is_failure(event):
            raise ErrorResponse(event)
        self.note(event)

    def _event(self, kind: str, event: Mapping[str, Any]) -> ChatChunk | None:
        index = event.get("index")
        index = index if isinstance(index, str | int) else None
        if kind == "message_start":
            message = _object(event.get("message"))
            self._count(message.get("usage"))
            self._about = _about(message)
        elif kind == "content_block_start":
            return self._start(index, _object(event.get("content_block")))
        elif kind == "content_block_delta":
            return self._delta(index, _object(event.get("delta")))
        elif kind == "content_block_stop" and index in self._inputs:
            return ChatChunk(tool_calls=self._whole(index))
        elif kind == "message_delta":
            self._count(event.get("usage"))
            delta = _object(event.get("delta"))
            finish = finish_of(delta.get("stop_reason"), FINISHES)
            calls = [call for index in list(self._inputs) for call in self._whole(index)] if finish else []
            extra = {**self._about, **_stopped(delta)}
            return ChatChunk(finish=finish, usage=_usage(self._usage), tool_calls=calls or None, extra=extra or None)
        return None

    def _count(self, usage: Any) -> None:
        """Keep counts: those of `message_delta` are cumulative, and may repeat those of the prompt."""
        self._usage |= {name: count for name, count in _object(usage).items() if count}

    def _start(self, index: Any, block: Mapping[str, Any]) -> ChatChunk | None:
        if block.get("type") == "redacted_thinking" and (data := text_in(block.get("data"))):
            return ChatChunk(extra={"redacted_thinking": data})
        if block.get("type") != "tool_use":
            # Empty in Anthropic's own API, but not in every compatible one.
            text = text_in(block.get("text")) if block.get("type") == "text" else ""
            return ChatChunk(text) if text else None
        self._tools[index] = number = len(self._tools)
        self._inputs[index] = block.get("input") or {}
        return ChatChunk(tool_calls=[_call(number, block)])

    def _whole(self, index: Any) -> list[dict[str, Any]]:
        """Return the arguments that came with the start of a call and in no delta."""
        return self._arguments(index, _json(self._inputs.pop(index))).tool_calls or []

    def _arguments(self, index: Any, text: str) -> ChatChunk:
        return ChatChunk(tool_calls=[{"index": self._tools[index], "function": {"arguments": text}}])

    def _delta(self, index: Any, delta: Mapping[str, Any]) -> ChatChunk | None:
        kind = delta.get("type") or next((kind for name, kind in _DELTAS.items() if name in delta), None)
        if kind == "text_delta":
            return ChatChunk(text_in(delta.get("text")))
        if kind == "thinking_delta":
            return ChatChunk(reasoning=text_in(delta.get("thinking")))
        if kind == "signature_delta" and (signature := text_in(delta.get("signature"))):
            return ChatChunk(extra={"signature": signature})
        if kind == "input_json_delta" and index in self._tools and (part := delta.get("partial_json")):
            self._inputs.pop(index, None)
            return self._arguments(index, part if isinstance(part, str) else _json(part))
        return None


_DELTAS = {"text": "text_delta", "thinking": "thinking_delta", "partial_json": "input_json_delta"}
"""What a delta without a type is, by the field that it has."""
_EVENTS = (
    "message_start",
    "message_delta",
    "message_stop",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _about(message: Mapping[str, Any]) -> dict[str, Any]:
    return {name: message[name] for name in ("id", "model") if message.get(name)}


def _stopped(end: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stop sequence at which an answer has ended; the finish reason does not tell it from its own end."""
    return {STOPPED_AT: text_in(end.get("stop_sequence"))} if end.get("stop_reason") == "stop_sequence" else {}


def _call(number: int, block: Mapping[str, Any], arguments: Any = None) -> dict[str, Any]:
    return tool_call(number, text_in(block.get("name")), text_in(block.get("id")), arguments)


def complete(message: Mapping[str, Any]) -> ChatChunk:
    """Return a complete message as one chunk.

    Raises:
        ErrorResponse: it is an error.
    """
    if message.get("type") == "error":
        raise ErrorResponse(message)
    content = message.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    blocks = [block for block in blocks if isinstance(block, Mapping)] if isinstance(blocks, list) else []
    uses = [block for block in blocks if block.get("type") == "tool_use"]
    calls = [_call(index, use, use.get("input") or {}) for index, use in enumerate(uses)]
    return ChatChunk(
        "".join(text_in(block.get("text")) for block in blocks if block.get("type") == "text"),
        "".join(text_in(block.get("thinking")) for block in blocks if block.get("type") == "thinking"),
        finish_of(message.get("stop_reason"), FINISHES),
        _usage(_object(message.get("usage"))),
        calls or None,
        {**_about(message), **_stopped(message)} or None,
    )


def _usage(counts: Mapping[str, Any]) -> Usage:
    """Return the counts with all tokens of the prompt: Anthropic counts cached ones separately."""
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    given, cached, stored = (count_in(counts.get(name)) for name in names)
    return Usage(given + cached + stored, count_in(counts.get("output_tokens")), cached_tokens=cached)
