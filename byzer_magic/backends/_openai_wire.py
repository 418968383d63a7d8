"""OpenAI's chat completion bodies, read fast: bytes of a provider in, `ChatChunk` out.

The shapes are those of https://developers.openai.com/api/reference/resources/chat (chat completion object and
chat completion chunk object), read leniently: compatible providers leave fields out, send null for them, or add
`reasoning_content` (DeepSeek) and `reasoning` (OpenRouter, vLLM). Server-sent events follow
https://html.spec.whatwg.org/multipage/server-sent-events.html, split on bytes: splitting decoded text, as SDKs do,
also breaks at U+2028 inside a JSON string.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from byzer_magic.types import ChatChunk, Usage


class Message(msgspec.Struct):
    """A `delta` of a stream, or the `message` of a whole answer."""

    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class Choice(msgspec.Struct):
    index: int = 0
    delta: Message | None = None
    message: Message | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class Counts(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Body(msgspec.Struct):
    """One event of a stream, or a whole answer: they differ only in `delta` and `message`."""

    choices: list[Choice] | None = None
    usage: Counts | None = None
    error: Any = None
    id: str | None = None
    model: str | None = None


class Fault(Exception):
    """The provider sent `{"error": ...}` where an answer was due; `error` is what it said."""

    def __init__(self, error: Any) -> None:
        super().__init__(str(error))
        self.error = error


_DECODER = msgspec.json.Decoder(Body)


def decode(data: bytes) -> Body:
    """Return a body.

    Raises:
        msgspec.DecodeError: it is not JSON, or not of this shape.
        Fault: it is an error.
    """
    return checked(_DECODER.decode(data))


def checked(body: Body) -> Body:
    """Return `body`, or raise Fault when it is an error."""
    if body.error is not None:
        raise Fault(body.error)
    return body


def chunk_of(body: Body) -> ChatChunk | None:
    """Return what a body adds to the answer; None when that is nothing (a role, a keep-alive)."""
    usage = _usage(body.usage)
    if not body.choices:
        return ChatChunk(usage=usage) if usage else None
    choice = body.choices[0]
    said = choice.delta or choice.message
    if said is None:
        said = Message()
    text = said.content if type(said.content) is str else _joined(said.content)
    text = text or said.refusal or ""
    reasoning = said.reasoning_content or said.reasoning or ""
    finish = choice.finish_reason
    if choice.index or len(body.choices) > 1 or choice.logprobs or finish:
        extra = _extra(body)
        if choice.index:
            return ChatChunk(usage=usage, extra=extra)
        return ChatChunk(text, reasoning, finish, usage, said.tool_calls, extra)
    if text or reasoning or usage or said.tool_calls:
        return ChatChunk(text, reasoning, None, usage, said.tool_calls)
    return None


def _usage(counts: Counts | None) -> Usage | None:
    return Usage(counts.prompt_tokens or 0, counts.completion_tokens or 0) if counts else None


def _joined(content: str | list[Any] | None) -> str:
    """Return the text of content parts, the form that some providers answer in."""
    if not isinstance(content, list):
        return content or ""
    return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))


def _extra(body: Body) -> dict[str, Any] | None:
    """Return what a user may want besides the text: id, model, log probabilities, the choices after the first."""
    choices = body.choices or []
    others = [choice for choice in choices if choice.index]
    found = {
        "id": body.id if choices[0].finish_reason else None,
        "model": body.model if choices[0].finish_reason else None,
        "logprobs": None if choices[0].index else choices[0].logprobs,
        "choices": [_other(choice) for choice in others] or None,
    }
    return {name: value for name, value in found.items() if value is not None} or None


def _other(choice: Choice) -> dict[str, Any]:
    said = choice.delta or choice.message or Message()
    return {"index": choice.index, "text": _joined(said.content), "finish": choice.finish_reason}


def text_or_json(text: str) -> Any:
    """Return the JSON list or object that `text` is, or else `text`."""
    if text.strip()[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


async def events(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the data of each server-sent event (one line of data each, as every provider sends them).

    Comments, `id:` and `retry:` lines are dropped. The data of an `event: error` comes as ``{"error": data}``
    unless it says so itself. A last line without its line end is data too.
    """
    rest = b""
    failed = False
    async for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                data = line[5:].strip()
                yield b'{"error":' + data + b"}" if failed and not data.startswith(b'{"error"') else data
            elif line.startswith(b"event:"):
                failed = line[6:].strip() == b"error"
    if rest.startswith(b"data:"):
        yield rest[5:].strip()
