"""DashScope's schema: conversations to it, and `ChatChunk` and our errors from it.

https://www.alibabacloud.com/help/en/model-studio/qwen-api-via-dashscope and, for the codes,
https://www.alibabacloud.com/help/en/model-studio/error-code. Until a choice is finished its finish_reason is the
string "null".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from byzer_magic import errors, types
from byzer_magic.backends.http import errors as http_errors, json_reader, reasons, tool_calls
from byzer_magic.backends.http.answers import AnswerReader
from byzer_magic.backends.http.coercion import Integer, text_in, usage_of
from byzer_magic.backends.http.errors import Endpoint, Unreadable
from byzer_magic.backends.http.finishes import finish_of
from byzer_magic.backends.http.json_reader import REFUSED, JsonReader
from byzer_magic.backends.http.media import data_url
from byzer_magic.backends.http.messages import sendable
from byzer_magic.backends.http.sse import DONE
from byzer_magic.types import ChatChunk, Media, Usage

STATUSES = {
    "InvalidApiKey": 401,
    "invalid_api_key": 401,
    "Arrearage": 402,
    "AccessDenied": 403,
    "Model.AccessDenied": 403,
    "WorkSpace.AccessDenied": 403,
    "Workspace.AccessDenied": 403,
    "AllocationQuota": 403,
    "ModelNotFound": 404,
    "model_not_found": 404,
    "RequestTimeOut": 408,
    "Throttling": 429,
    "LimitRequests": 429,
    "limit_requests": 429,
    "InvalidParameter": 400,
    "invalid_parameter_error": 400,
    "invalid_request_error": 400,
    "BadRequest": 400,
    "InvalidURL": 400,
    "UnsupportedOperation": 400,
    "NotSupported": 400,
    "DataInspectionFailed": 400,
    "data_inspection_failed": 400,
    "InternalError.Algo.InvalidParameter": 400,
    "InternalError.Algo.DataInspectionFailed": 400,
    "ModelServingError": 503,
    "ModelUnavailable": 503,
    "ServiceUnavailable": 503,
}
"""Statuses of error codes and of their subcodes after a dot; in a stream the HTTP status was 200 already."""

PATTERNS: tuple[tuple[type[errors.ProviderError], str], ...] = (
    (errors.ContextTooLong, r"range of input length|input is too long|message token length exceed"),
    (errors.ContentRefused, r"data_?inspection_?failed|inappropriate content"),
    (errors.ModelNotFound, r"model not exist"),
)
"""What a 400 is, by code and sentence."""


class Message(msgspec.Struct):
    """A delta of a stream, or a complete response."""

    content: str | list[dict[str, Any]] | None = None
    reasoning_content: str | None = None
    tool_calls: Any = None


class Choice(msgspec.Struct):
    """One of the responses to a request; there are several when it asks for `n`."""

    index: Integer | None = None
    message: Message | None = None
    finish_reason: str | None = None
    logprobs: Any = None


class Embedding(msgspec.Struct):
    """The embedding of one text."""

    embedding: list[float]
    text_index: Integer = 0


class Score(msgspec.Struct):
    """The relevance of one document."""

    index: Integer
    relevance_score: float


class Output(msgspec.Struct):
    """The result of any of the services."""

    choices: list[Choice] | None = None
    search_info: dict[str, Any] | None = None
    embeddings: list[Embedding] | None = None
    results: list[Score] | None = None
    text: str | None = None
    finish_reason: str | None = None
    """Text and finish reason of models that ignore `result_format`."""


class Counts(msgspec.Struct):
    """Tokens of a request."""

    input_tokens: Integer | None = None
    output_tokens: Integer | None = None
    total_tokens: Integer | None = None
    prompt_tokens_details: Any = None

    def usage(self) -> Usage:
        """Return the counts as ours; embeddings and rankings only have a total."""
        details, written = self.prompt_tokens_details, self.output_tokens or 0
        cached = details.get("cached_tokens") if isinstance(details, dict) else None
        return usage_of(self.input_tokens or (self.total_tokens or 0) - written, written, cached)


class Body(msgspec.Struct):
    """One event of a stream, or a complete response of any of the services."""

    output: Output | None = None
    usage: Counts | None = None
    request_id: str | None = None
    code: str | None = None
    message: str | None = None


class Reader(AnswerReader):
    """Reads the events of one response, or the response that is not streamed.

    Args:
        model: the model.
        error: returns our error for an error body.
    """

    def __init__(self, model: str, error: Callable[[Any], errors.ByzerError]) -> None:
        super().__init__()
        self._json = JsonReader(Body)
        self._model = model
        self._error = error
        self._first: int | None = None

    def read(self, event: bytes) -> ChatChunk | None:
        """Return what an event adds to the response, or None.

        Raises:
            ByzerError: the event is an error.
            Unreadable: it is not JSON.
        """
        if event in (b"", DONE):
            self.finished = self.finished or bool(event)
            return None
        try:
            body = self._json.decode(event)
        except REFUSED as err:
            raise Unreadable(str(err)) from None
        self.repaired = self._json.repaired
        if reasons.is_failed_code(body.code):
            raise self._error(json_reader.loads(event))
        if not (body.output and (body.output.choices or body.output.text)):
            self._keep(json_reader.loads(event))
        else:
            self.begun = True
            self._number(body.output.choices or [])
        return chunk_of(body, self._model)

    def _number(self, choices: list[Choice]) -> None:
        """Number the first choice 0, whatever the server begins to count at."""
        if choices and self._first is None:
            self._first = min(choice.index or 0 for choice in choices)
        for choice in choices:
            choice.index = 0 if choice.index == self._first else choice.index

    def _keep(self, data: Any) -> None:
        """Keep an event without choices; raise it if it is an error."""
        if reasons.is_failure(data):
            raise self._error(data)
        self.note(data)


def chunk_of(body: Body, model: str) -> ChatChunk | None:
    """Return what a body adds to the response; None when that is nothing."""
    choices = _choices(body.output or Output())
    first = next((choice for choice in choices if not choice.index), Choice())
    message = first.message or Message()
    finish = finish_of(first.finish_reason)
    chunk = ChatChunk(
        _text(message.content),
        message.reasoning_content or "",
        finish,
        body.usage.usage() if body.usage and (finish or not choices) else None,  # each event has the counts so far
        tool_calls.deltas(message.tool_calls),
        _extra(body, choices, {"model": model, "request_id": body.request_id} if finish else {}),
    )
    return None if chunk == ChatChunk() else chunk


def _choices(output: Output) -> Sequence[Choice]:
    if output.choices or output.text is None:
        return output.choices or []
    return [Choice(message=Message(output.text), finish_reason=output.finish_reason)]


def _text(content: str | list[dict[str, Any]] | None) -> str:
    return content if isinstance(content, str) else text_in(content)


def _extra(body: Body, choices: Sequence[Choice], known: dict[str, Any]) -> dict[str, Any] | None:
    search = body.output.search_info if body.output else None
    others = [choice for choice in choices if choice.index]
    found = {
        **known,
        "logprobs": next((choice.logprobs for choice in choices if not choice.index), None),
        "search_info": search if search and search.get("search_results") else None,
        "choices": [_other(choice) for choice in others] or None,
    }
    return {name: value for name, value in found.items() if value is not None} or None


def _other(choice: Choice) -> dict[str, Any]:
    message = choice.message or Message()
    found = {"index": choice.index, "text": _text(message.content), "finish": finish_of(choice.finish_reason)}
    return found | tool_calls.beside(
        reasoning=message.reasoning_content, calls=tool_calls.deltas(message.tool_calls), logprobs=choice.logprobs
    )


# ---- conversations


def has_media(turns: Sequence[types.Message]) -> bool:
    """Return whether a conversation has images, audio or video."""
    return any(not _is_text(part) for turn in turns if isinstance(turn.content, list) for part in turn.content)


def _is_text(part: Any) -> bool:
    return not isinstance(part, Media) and part.get("type", "text") == "text" and "text" in part


def messages(turns: Sequence[types.Message], *, parts: bool) -> list[dict[str, Any]]:
    """Return a conversation in DashScope's schema.

    Args:
        turns: the conversation.
        parts: whether contents are lists of parts, as the multimodal path requires, or plain text.

    Example:
        >>> messages([types.Message("user", "Hi")], parts=True)
        [{'role': 'user', 'content': [{'text': 'Hi'}]}]
    """
    return [_turn(tool_calls.sent(turn), parts=parts) for turn in sendable(turns)]


def _turn(turn: types.Message, *, parts: bool) -> dict[str, Any]:
    rest: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(turn, content=None))
    content = turn.content if isinstance(turn.content, list) else [{"text": turn.content}] if turn.content else []
    native = [_part(part) for part in content]
    return {**rest, "content": native if parts else _text(native)}


def _part(part: dict[str, Any] | Media) -> dict[str, Any]:
    """Return a part in DashScope's schema: OpenAI's and ours are converted, DashScope's own are left as they are."""
    if isinstance(part, Media):
        return {part.mime.partition("/")[0]: data_url(part)}  # image, audio or video
    kind = part.get("type")
    if kind == "text":
        return {"text": part["text"]}
    if kind in ("image_url", "video_url"):
        url = part[kind]
        return {kind.removesuffix("_url"): url["url"] if isinstance(url, Mapping) else url}
    if kind == "input_audio":
        audio = part[kind]
        return {"audio": f"data:audio/{audio.get('format', 'wav')};base64,{audio['data']}"}
    return part


# ---- errors


def from_response(
    body: Any, endpoint: Endpoint, status: int | None = None, headers: Mapping[str, str] | None = None
) -> errors.ByzerError:
    """Return the error for an error body; in a stream, where the status was 200 already, its code decides."""
    body = _in_event(body)
    body = body["error"] if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping) else body
    code, _kind, _reason = reasons.of(body)
    status = _status_of(code) if status is None or code == "Arrearage" else status
    known = dict(headers or {})
    if isinstance(body, Mapping) and body.get("request_id"):
        known.setdefault("x-request-id", str(body["request_id"]))
    if code == "Arrearage":
        known["x-should-retry"] = "false"  # an overdue account does not recover by waiting
    return http_errors.from_response(body, endpoint, status, known)


def _status_of(code: str) -> int | None:
    names = code.split(".")
    prefixes = (".".join(names[:end]) for end in range(len(names), 0, -1))
    return next((STATUSES[prefix] for prefix in prefixes if prefix in STATUSES), None)


def _in_event(body: Any) -> Any:
    """Return the JSON of an error that came as a server-sent event."""
    match = re.search(r"^data:(.*)$", body, re.MULTILINE) if isinstance(body, str) else None
    try:
        return json_reader.loads(match[1]) if match else body
    except ValueError:
        return body
