"""OpenAI's chat completions as plain data: messages to its schema, and its bodies to `ChatChunk`.

The schema is that of https://developers.openai.com/api/reference/resources/chat (chat completion object and
chat completion chunk object), read leniently: compatible providers leave fields out, send null for them, or add
`reasoning_content` (DeepSeek) and `reasoning` (OpenRouter, vLLM).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from byzer_magic import types
from byzer_magic.backends.http import reasons, tool_calls
from byzer_magic.backends.http.coercion import Integer, parted, text_in, usage_of
from byzer_magic.backends.http.errors import ErrorResponse
from byzer_magic.backends.http.finishes import finish_of
from byzer_magic.backends.http.media import data_url, to_base64
from byzer_magic.backends.http.messages import sendable
from byzer_magic.media.formats import extension
from byzer_magic.types import STOPPED_AT, ChatChunk, Media, Usage


class Message(msgspec.Struct):
    """A `delta` of a stream, or the `message` of a complete response."""

    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: Any = None
    function_call: Any = None
    """A tool call by its older name."""


class Counts(msgspec.Struct):
    """Tokens of a request."""

    prompt_tokens: Integer | None = None
    completion_tokens: Integer | None = None
    input_tokens: Integer | None = None
    output_tokens: Integer | None = None
    prompt_tokens_details: Any = None
    cache_read_input_tokens: Any = None
    cache_creation_input_tokens: Any = None
    """The tokens from and for a cache, by the names of proxies for Anthropic's API."""


class Choice(msgspec.Struct):
    """One of the responses to a request; there are several when it asks for `n`."""

    index: Integer = 0
    delta: Message | None = None
    message: Message | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None
    text: str | None = None
    """The text by its older name, which some compatible servers send instead of a message."""
    messages: list[Any] | None = None
    """The same of old MiniMax."""
    usage: Counts | None = None
    """The token counts of Moonshot."""
    error: Any = None
    stop_reason: Any = None
    """The stop sequence, or the number of the token, at which vLLM has ended the answer."""

    @property
    def part(self) -> Message:
        """Return the part of the response that it has."""
        if self.delta is not None and (self.message is None or self.delta != _EMPTY):
            return self.delta
        return self.message or Message(self.text or text_in(self.messages) or None)


class Groq(msgspec.Struct):
    """What Groq adds to a stream."""

    usage: Counts | None = None


class Body(msgspec.Struct):
    """One event of a stream, or a complete response: they differ only in `delta` and `message`."""

    choices: list[Choice] | None = None
    usage: Counts | None = None
    x_groq: Groq | None = None
    error: Any = None
    id: str | None = None
    model: str | None = None


_EMPTY = Message()
fast = msgspec.json.Decoder(Body).decode
"""Reads a body that is as documented; `reader` reads any."""


def decode(data: bytes) -> Body:
    """Return a body.

    Raises:
        msgspec.DecodeError: it is not JSON, or does not match the schema.
        ErrorResponse: it is an error.

    Example:
        >>> chunk_of(decode(b'{"choices": [{"delta": {"content": "Hi"}}]}')).text
        'Hi'
    """
    return checked(fast(data))


def checked(body: Body) -> Body:
    """Return `body`.

    Raises:
        ErrorResponse: it is an error.
    """
    if body.error is not None and reasons.failed(body.error):
        raise ErrorResponse(body.error)
    return body


def chunk_of(body: Body) -> ChatChunk | None:
    """Return what a body adds to the response; None when that is nothing (a role, a keep-alive).

    Raises:
        ErrorResponse: its finish reason is a failure.
    """
    usage = _usage(body.usage or (body.x_groq.usage if body.x_groq else None))
    if not body.choices:
        return ChatChunk(usage=usage) if usage else None
    choice = body.choices[0]
    usage = usage or _usage(choice.usage)
    message = choice.delta if choice.message is None and choice.delta is not None else choice.part
    text, thought = (message.content, "") if type(message.content) is str else parted(message.content)
    text = text or message.refusal or ""
    calls = _calls(message)
    reasoning = message.reasoning_content or message.reasoning or thought
    finish = finish_of(choice.finish_reason) if choice.finish_reason else None
    if choice.index or len(body.choices) > 1 or choice.logprobs or finish:
        extra = _extra(body, finish)
        if choice.index:
            return ChatChunk(usage=usage, extra=extra)
        return ChatChunk(text, reasoning, finish, usage, calls, extra)
    if text or reasoning or usage or calls:
        return ChatChunk(text, reasoning, None, usage, calls)
    return None


def arranged(choices: list[Choice]) -> list[Choice]:
    """Return several choices by index; text and tool calls may come as two of one index (GitHub Copilot).

    Example:
        >>> two = [Choice(1, Message("B")), Choice(0, Message("A")), Choice(0, Message(tool_calls=[{"id": "c"}]))]
        >>> [(choice.index, choice.part.content, len(choice.part.tool_calls or [])) for choice in arranged(two)]
        [(0, 'A', 1), (1, 'B', 0)]
    """
    found: list[Choice] = []
    for choice in sorted(choices, key=lambda choice: choice.index):
        last = found[-1] if found and found[-1].index == choice.index else None
        if last is None or (last.part.content and choice.part.content):
            found.append(choice)
        else:
            found[-1] = _united(last, choice)
    return found


def _united(one: Choice, two: Choice) -> Choice:
    first, second = one.part, two.part
    part = Message(
        first.content or second.content,
        first.reasoning_content or second.reasoning_content,
        first.reasoning or second.reasoning,
        first.refusal or second.refusal,
        [*(_calls(first) or []), *(_calls(second) or [])] or None,
    )
    whole = one.message is not None
    return Choice(
        one.index,
        None if whole else part,
        part if whole else None,
        two.finish_reason or one.finish_reason,
        one.logprobs or two.logprobs,
        usage=two.usage or one.usage,
        error=two.error if one.error is None else one.error,
    )


def _calls(message: Message) -> list[dict[str, Any]] | None:
    if message.tool_calls:
        return tool_calls.deltas(message.tool_calls)
    return tool_calls.of_function(message.function_call) if message.function_call else None


def _usage(counts: Counts | None) -> Usage | None:
    if counts is None:
        return None
    details = counts.prompt_tokens_details
    read = counts.cache_read_input_tokens or (details.get("cached_tokens") if isinstance(details, dict) else None)
    prompt = counts.prompt_tokens or counts.input_tokens or 0
    completion = counts.completion_tokens or counts.output_tokens or 0
    return usage_of(prompt, completion, read, counts.cache_creation_input_tokens)


def _extra(body: Body, finish: str | None) -> dict[str, Any] | None:
    """Return the data besides the text: id, model, log probabilities, the choices after the first."""
    choices = body.choices or []
    others = [choice for choice in choices if choice.index]
    found = {
        "id": body.id if finish else None,
        "model": body.model if finish else None,
        "logprobs": None if choices[0].index else choices[0].logprobs,
        STOPPED_AT: choices[0].stop_reason if finish == "stop" and isinstance(choices[0].stop_reason, str) else None,
        "choices": [_other(choice) for choice in others] or None,
    }
    return {name: value for name, value in found.items() if value is not None} or None


def _other(choice: Choice) -> dict[str, Any]:
    """Return what is new of a choice after the first."""
    part = choice.part
    text, thought = parted(part.content)
    found = {"index": choice.index, "text": text, "finish": choice.finish_reason or None}
    return found | tool_calls.beside(
        reasoning=part.reasoning_content or part.reasoning or thought, calls=_calls(part), logprobs=choice.logprobs
    )


def text_or_json(text: str) -> Any:
    """Return the JSON list or object in `text`, or `text` itself.

    Example:
        >>> text_or_json('["END", "STOP"]'), text_or_json("END")
        (['END', 'STOP'], 'END')
    """
    if text.strip()[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def defaults(params: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return those of a deployment's parameters that are fields of its requests; `stop` may be a JSON list.

    Example:
        >>> defaults({"temperature": 0.5, "stop": '["END"]', "n_ctx": 4096}, ["temperature", "top_p", "stop"])
        {'temperature': 0.5, 'stop': ['END']}
    """
    found = {name: params[name] for name in names if name in params}
    if "stop" in found:
        found["stop"] = text_or_json(found["stop"])
    return found


def messages(turns: Sequence[types.Message]) -> list[dict[str, Any]]:
    """Return a conversation in OpenAI's schema: images and audio as parts.

    Raises:
        BadRequest: audio has only a URL.

    Example:
        >>> messages([types.Message("user", "Hi")])
        [{'role': 'user', 'content': 'Hi'}]
    """
    return [_turn(tool_calls.sent(turn)) for turn in sendable(turns)]


def _turn(turn: types.Message) -> dict[str, Any]:
    if not isinstance(turn.content, list):
        plain: dict[str, Any] = msgspec.to_builtins(turn)
        return plain
    parts = [_part(part) if isinstance(part, Media) else part for part in turn.content]
    rest: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(turn, content=None))
    return {**rest, "content": parts}


def _part(media: Media) -> dict[str, Any]:
    if media.is_image:
        detail = {"detail": media.detail} if media.detail else {}
        return {"type": "image_url", "image_url": {"url": data_url(media), **detail}}
    return {"type": "input_audio", "input_audio": {"data": to_base64(media), "format": extension(media.mime)}}
