"""Ollama's schema: conversations and options to it, and `ChatChunk` from it.

https://github.com/ollama/ollama/blob/main/docs/openapi.yaml; OpenAI's fields are converted as
Ollama does for its own OpenAI-compatible API (https://github.com/ollama/ollama/blob/main/openai/openai.go).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from byzer_magic.backends.http import json_reader, reasons, tool_calls
from byzer_magic.backends.http.answers import AnswerReader
from byzer_magic.backends.http.coercion import Integer
from byzer_magic.backends.http.errors import Unreadable
from byzer_magic.backends.http.finishes import finish_of
from byzer_magic.backends.http.json_reader import REFUSED, JsonReader
from byzer_magic.backends.http.media import to_base64
from byzer_magic.backends.http.messages import sendable
from byzer_magic.backends.http.params import CHAT_OPTIONS, given as params_given
from byzer_magic.backends.http.sse import DONE
from byzer_magic.backends.openai.schema import text_or_json
from byzer_magic.errors import BadRequest, ByzerError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import ChatChunk, Media, Message, Usage

PORT = 11434
OPTIONS: dict[str, tuple[str, str]] = {
    **{name: CHAT_OPTIONS[name] for name in ("temperature", "top_p", "top_k")},
    "min_p": ("float", _("exclude tokens less likely than this fraction of the most likely token")),
    "repeat_penalty": ("float", _("above 1: fewer repetitions")),
    "seed": CHAT_OPTIONS["seed"],
    "num_ctx": ("int", _("context length, in tokens; Ollama truncates longer conversations")),
    "num_predict": CHAT_OPTIONS["max_tokens"],
    "max_tokens": ("int", _("same as num_predict (OpenAI's name)")),
    "stop": CHAT_OPTIONS["stop"],
    "think": ("text", _("whether to reason first: true, false, or low, medium, high, max")),
    "keep_alive": ("text", _("how long the model stays in memory after a request: 5m, 0, or -1 (forever)")),
}
"""Options of requests that a deployment may set: kind and help."""
TOP = ("model", "think", "keep_alive", "format", "tools", "logprobs", "top_logprobs", "dimensions", "truncate")
"""Fields of a request that are not below `options`."""
RENAMED = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}
NOT_SENT = (
    "n",
    "user",
    "stream_options",
    "parallel_tool_calls",
    "tool_choice",
    "response_format",
    "reasoning_effort",
    "encoding_format",
    "logit_bias",
)
"""Options of OpenAI's that Ollama does not have, or has by another name."""
EFFORTS: dict[str, Any] = {"none": False, "minimal": "low", "low": "low", "medium": "medium", "high": "high"}
"""How long to reason, by OpenAI's `reasoning_effort`; anything else is `max`."""


class Delta(msgspec.Struct):
    """What a line adds to the response."""

    content: str | None = None
    thinking: str | None = None
    tool_calls: Any = None


class Response(msgspec.Struct):
    """A line of a stream, a complete response, or embeddings."""

    message: Delta | None = None
    response: str | None = None
    """The text, from servers that answer as to `/api/generate`."""
    done: bool = False
    done_reason: str | None = None
    model: str = ""
    prompt_eval_count: Integer = 0
    eval_count: Integer = 0
    logprobs: list[Any] | None = None
    embeddings: list[list[float]] | None = None


def base_url(text: str) -> str:
    """Return the base URL for what `saas.base_url` or `OLLAMA_HOST` has: scheme and port may be missing in the latter.

    Example:
        >>> base_url("localhost"), base_url("0.0.0.0:80"), base_url("https://ollama.x.com/api/")
        ('http://localhost:11434', 'http://127.0.0.1:80', 'https://ollama.x.com')
    """
    text = text.strip().rstrip("/").removesuffix("/api")
    if "://" not in text:
        text = f"http://{text}" if re.search(r":\d+$", text) else f"http://{text}:{PORT}"
    return re.sub(
        r"//(0\.0\.0\.0|\[::\])(?=[:/]|$)", "//127.0.0.1", text
    )  # the address it listens on, not one to connect to


def defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deployment's settings, without their `saas.`."""
    return {name: _option(name, value) for name, value in params_given(given, OPTIONS).items()}


def _option(name: str, value: Any) -> Any:
    if name == "stop":
        return text_or_json(value)
    if name == "think":
        return {"true": True, "false": False}.get(value.lower(), value)
    if name == "keep_alive" and re.fullmatch(r"-?\d+", value):
        return int(value)  # seconds; as text it would need a unit
    return value


def body(given: Mapping[str, Any], extra: Mapping[str, Any], **own: Any) -> dict[str, Any]:
    """Return a request.

    Args:
        given: options by Ollama's or OpenAI's names; names that are in neither API's request go into `options`.
        extra: fields that are sent as they are.
        own: the fields of this kind of request.

    Raises:
        BadRequest: `tool_choice` requires a tool.

    Example:
        >>> body({"max_tokens": 5, "think": False}, {}, model="qwen3")
        {'model': 'qwen3', 'think': False, 'options': {'num_predict': 5}}
    """
    fields = {**given, **_converted(given)}
    options = {RENAMED.get(name, name): value for name, value in fields.items() if name not in (*TOP, *NOT_SENT)}
    top = {name: fields[name] for name in TOP if fields.get(name) is not None}
    return {**own, **top, **extra, "options": {**options, **extra.get("options", {})}}


def _converted(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return OpenAI's `tool_choice`, `reasoning_effort` and `response_format` as fields of Ollama's."""
    found: dict[str, Any] = {}
    choice = given.get("tool_choice", "auto")
    if choice == "none":
        found["tools"] = None
    elif choice != "auto":
        raise BadRequest(
            _("Ollama cannot be forced to call a tool."), _("Remove tool_choice, or set it to auto or none.")
        )
    if "reasoning_effort" in given:
        found["think"] = EFFORTS.get(given["reasoning_effort"], "max")
    form = given.get("response_format")
    form = text_or_json(form) if isinstance(form, str) else form
    kind = form.get("type") if isinstance(form, Mapping) else form
    if kind == "json_schema" and isinstance(form, Mapping):
        found["format"] = form["json_schema"]["schema"]
    elif kind == "json_object":
        found["format"] = "json"
    return found


def messages(turns: Sequence[Message]) -> list[dict[str, Any]]:
    """Return a conversation in Ollama's schema: plain text, with images as base64 beside it.

    Raises:
        BadRequest: an image has only a URL, or a part is neither text nor an image.
    """
    names = {call.get("id"): tool_calls.name_of(call) for turn in turns for call in turn.tool_calls or []}
    return [_turn(turn, names) for turn in sendable(turns)]


def _turn(turn: Message, names: Mapping[str | None, str]) -> dict[str, Any]:
    parts = turn.content if isinstance(turn.content, list) else [{"type": "text", "text": turn.content or ""}]
    texts = [part["text"] for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    images = [_image(part) for part in parts if isinstance(part, Media) or part.get("type") != "text"]
    message: dict[str, Any] = {"role": "system" if turn.role == "developer" else turn.role, "content": "".join(texts)}
    if images:
        message["images"] = images
    if turn.tool_calls:
        message["tool_calls"] = [_call(call) for call in turn.tool_calls]
    if turn.role == "tool":
        message["tool_call_id"] = turn.tool_call_id
        message["tool_name"] = turn.name or names.get(turn.tool_call_id, "")
    return message


def _image(part: dict[str, Any] | Media) -> str:
    if isinstance(part, Media) and part.is_image:
        return to_base64(part)
    if isinstance(part, Media) or part.get("type") != "image_url":
        raise BadRequest(_("Ollama accepts only text and images."), _("Remove the other parts of the message."))
    url: str = part["image_url"]["url"]
    head, found, data = url.partition(";base64,")
    return data if found and head.startswith("data:") else to_base64(Media("image", url=url))


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": tool_calls.name_of(call), "arguments": tool_calls.arguments_of(call)}
    return {"id": call.get("id") or "", "function": function}


class Reader(AnswerReader):
    """Reads the lines of one response, or the response that is not streamed.

    Args:
        error: returns our error for an error body.
    """

    def __init__(self, error: Callable[[Any], ByzerError]) -> None:
        super().__init__()
        self._json = JsonReader(Response)
        self._error = error
        self._numbers = itertools.count()

    def read(self, event: bytes) -> ChatChunk | None:
        """Return what a line adds to the response, or None.

        Raises:
            ByzerError: the line is an error.
            Unreadable: it is not JSON.
        """
        if event in (b"", DONE):
            self.finished = self.finished or bool(event)
            return None
        try:
            response = self._json.decode(event)
        except REFUSED as err:
            raise Unreadable(str(err)) from None
        self.repaired = self._json.repaired
        if b'"error"' in event or response.message is None:
            self._check(json_reader.loads(event), has_message=response.message is not None)
        if response.message is None and response.response is not None:
            response.message = Delta(response.response)
        if response.message is not None:
            self.begun = True
        elif not self.begun:  # nothing but `done`
            return None
        found = chunk(response, self._numbers, called=self.called)
        self.over = response.done
        return None if found == ChatChunk() else found

    def _check(self, data: Any, *, has_message: bool) -> None:
        """Keep a line without a message; raise it if it is an error."""
        if (isinstance(data, dict) and reasons.failed(data.get("error"))) or (
            not has_message and reasons.is_failure(data)
        ):
            raise self._error(data)
        if not has_message:
            self.note(data)


def chunk(response: Response, numbers: Iterator[int], *, called: bool) -> ChatChunk:
    """Return what a line adds to the response.

    Args:
        response: the line.
        numbers: counts the tool calls of the response.
        called: whether there were tool calls before.
    """
    delta = response.message or Delta()
    calls = [_numbered(call, next(numbers)) for call in tool_calls.deltas(delta.tool_calls) or []]
    extra: dict[str, Any] = {"logprobs": {"content": response.logprobs}} if response.logprobs else {}
    finish, usage = None, None
    if response.done:
        finish = finish_of(response.done_reason)
        if finish not in ("length", "load", "unload"):
            finish = "tool_calls" if called or calls else "stop"
        usage = Usage(response.prompt_eval_count, response.eval_count)
        extra["model"] = response.model
    return ChatChunk(delta.content or "", delta.thinking or "", finish, usage, calls or None, extra or None)


def _numbered(call: dict[str, Any], index: int) -> dict[str, Any]:
    """Return a call, which always comes complete, with an index and an ID of its own."""
    function = {"name": "", **call["function"], "arguments": call["function"].get("arguments") or "{}"}
    return {"index": index, "id": call.get("id") or f"call_{index}", "type": "function", "function": function}
