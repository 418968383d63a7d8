"""Responses of the OpenAI API beyond chat, from any server that has it: embeddings, rankings, transcripts, images.

They are read as tolerantly as those of chat, and what has nothing that was asked for is an error with what it says.
"""

from __future__ import annotations

import contextlib
from typing import Any, TypeVar

import msgspec

from byzer_magic.backends.http import body_texts, coercion, json_reader, reasons
from byzer_magic.backends.http.coercion import Integer
from byzer_magic.backends.http.endpoint import Endpoint
from byzer_magic.backends.http.errors import (
    ErrorResponse,
    NoAnswer,
    Unreadable,
    embeddings_missing,
    not_json,
    unreadable,
)
from byzer_magic.backends.http.json_reader import REFUSED, JsonReader
from byzer_magic.backends.http.media import from_base64, packed, ranked
from byzer_magic.backends.http.sse import Parser
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.safety import urls
from byzer_magic.types import Segment, TranscriptChunk, Usage

T = TypeVar("T")


class Counts(msgspec.Struct):
    """Tokens of a request."""

    prompt_tokens: Integer | None = None
    input_tokens: Integer | None = None
    output_tokens: Integer | None = None
    total_tokens: Integer | None = None

    def usage(self) -> Usage:
        """Return the counts as ours."""
        return Usage(self.prompt_tokens or self.input_tokens or self.total_tokens or 0, self.output_tokens or 0)


class Embedding(msgspec.Struct):
    """The embedding of one text."""

    embedding: str | list[Any]
    index: Integer = 0


class Score(msgspec.Struct):
    """The relevance of one document; some servers call it `score`."""

    index: Integer
    relevance_score: float | None = None
    score: float | None = None


class Image(msgspec.Struct):
    """One image."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None

    def data(self) -> bytes:
        """Return the image's bytes, if it has them; some servers send them as a data: URL.

        Raises:
            Unreadable: they are not base64.
        """
        inline = self.b64_json or (self.url if self.is_inline and self.url else "")
        try:
            return from_base64(inline.partition(";base64,")[2] or inline)
        except ValueError:
            raise Unreadable(_("the image is not base64")) from None

    @property
    def is_inline(self) -> bool:
        """Return whether its URL has the bytes in it."""
        return (self.url or "")[:5].lower() == "data:"

    def link(self) -> str:
        """Return where the image can be downloaded; empty where it is here, and for what is no URL of the web."""
        return urls.web(self.url or "")


class Transcript(msgspec.Struct):
    """A transcript."""

    text: str | None = None
    segments: list[Segment] | None = None
    language: str | None = None
    duration: float | None = None
    words: Any = None


class Body(msgspec.Struct):
    """A response of any of these endpoints."""

    data: list[dict[str, Any]] | None = None
    images: list[dict[str, Any]] | None = None
    results: list[dict[str, Any]] | None = None
    usage: Counts | None = None
    error: Any = None


def decode(data: bytes, kind: type[T], endpoint: Endpoint) -> T:
    """Return a body.

    Raises:
        ByzerError: it is not JSON.
        ErrorResponse: it is an error, or has not what the kind requires.
    """
    reader = JsonReader(kind)
    try:
        found = reader.decode(data)
    except REFUSED as err:
        raise _instead(data, str(err), endpoint) from None
    if reasons.failed(getattr(found, "error", None)):
        raise ErrorResponse(json_reader.plain(data))
    return found


def _instead(data: bytes, reason: str, endpoint: Endpoint) -> Exception:
    """Return the error for a body that cannot be read."""
    try:
        found = json_reader.loads(data)
    except ValueError:
        return not_json(data, endpoint, reason)
    return nothing(found)


def nothing(found: Any) -> ErrorResponse:
    """Return the error for plain data that has nothing that was asked for."""
    return ErrorResponse(found) if reasons.is_failure(found) else NoAnswer(found)


def embeddings(data: bytes, texts: int, endpoint: Endpoint) -> tuple[list[bytes], Usage | None]:
    """Return an embedding per text as float32, in the order of the texts, and the token counts.

    Raises:
        ByzerError: there is not one for each text, or one is not a list of numbers.
        ErrorResponse: the body is an error.
    """
    body = decode(data, Body, endpoint)
    rows = sorted(_rows(body.data, list[Embedding]), key=lambda row: row.index)
    if not rows and texts:
        raise nothing(json_reader.plain(data))
    if len(rows) != texts:
        raise unreadable(endpoint, embeddings_missing(len(rows), texts))
    return packed([row.embedding for row in rows], endpoint), body.usage.usage() if body.usage else None


def ranking(data: bytes, documents: int, endpoint: Endpoint) -> tuple[list[tuple[int, float]], Usage | None]:
    """Return index and score of the documents, the most relevant first, and the token counts.

    Raises:
        ByzerError: the body is not JSON, or does not fit the documents.
        ErrorResponse: the body is an error, or has no ranking.
    """
    body = decode(data, Body, endpoint) if data.lstrip()[:1] != b"[" else Body(results=_listed(data, endpoint))
    given = body.results or body.data or []
    rows = _rows(given, list[Score])
    if not rows and documents:
        raise nothing(json_reader.plain(data))
    scores = [(row.index, row.score if row.relevance_score is None else row.relevance_score) for row in rows]
    order = ranked([*scores, *[(-1, None)] * (len(given) - len(rows))], documents, endpoint)
    return order, body.usage.usage() if body.usage else None


def _listed(data: bytes, endpoint: Endpoint) -> list[dict[str, Any]]:
    """Return the rows of a bare list, as Text Embeddings Inference returns them."""
    return [row for row in decode(data, list[Any], endpoint) if isinstance(row, dict)]


def images(data: bytes, endpoint: Endpoint) -> tuple[list[Image], Usage | None]:
    """Return the images, and the token counts.

    Raises:
        ByzerError: the body is not JSON.
        ErrorResponse: the body is an error, or has no image.
    """
    body = decode(data, Body, endpoint)
    rows = [row for row in _rows(body.data or body.images, list[Image]) if row.b64_json or row.is_inline or row.link()]
    if not rows:
        raise nothing(json_reader.plain(data))
    return rows, body.usage.usage() if body.usage else None


def transcript(data: bytes, content_type: str, endpoint: Endpoint) -> TranscriptChunk:
    """Return a transcript; other formats than JSON (text, srt, vtt) are its text.

    Raises:
        ByzerError: it is a web page.
        ErrorResponse: it is an error.
    """
    start = data[:64].lstrip().lower()
    if "html" in content_type or start.startswith((b"<!doctype", b"<html")):
        raise not_json(data, endpoint, "")
    if start.startswith((b"data:", b"event:")):
        return TranscriptChunk(_of_events(data))
    if "json" not in content_type and not (start[:1] == b"{" and start[1:].lstrip()[:1] in (b'"', b"}", b"")):
        return TranscriptChunk(
            body_texts.text_of(data) if len(data) <= body_texts.MAX_BYTES else data.decode("utf-8", "replace")
        )
    if start[:1] == b'"':
        return TranscriptChunk(str(json_reader.loads(data)))
    if b'"error"' in data[:64]:
        decode(data, Body, endpoint)
    found = decode(data, Transcript, endpoint)
    text = found.text
    if text is None and found.segments:
        text = "".join(segment.text for segment in found.segments).strip()
    if text is None:
        raise nothing(json_reader.plain(data))
    extra = {"words": json_reader.carried(found.words, odd=False)[0]} if found.words else None
    return TranscriptChunk(text, found.segments, found.language, found.duration, extra=extra)


def _of_events(data: bytes) -> str:
    """Return the transcript of an event stream: its whole text at the end, or else the parts.

    Raises:
        ErrorResponse: it is an error, or has no text.
    """
    parser = Parser()
    events = [json_reader.loads(event) for event in (*parser.feed(data), *parser.end()) if event[:1] == b"{"]
    if failed := next((event for event in events if reasons.is_failure(event)), None):
        raise ErrorResponse(failed)
    whole = [event["text"] for event in events if isinstance(event.get("text"), str)]
    parts = [event["delta"] for event in events if isinstance(event.get("delta"), str)]
    if not (whole or parts):
        raise nothing(events[0] if events else None)
    return str(whole[-1]) if whole else "".join(parts)


def instead_of(reason: str, data: bytes, endpoint: Endpoint) -> Exception:
    """Return the error for a text that came instead of audio or an image.

    Args:
        reason: `NO_AUDIO` or `NO_IMAGE`.
        data: the text.
        endpoint: where the request went.
    """
    if len(data) < body_texts.MAX_BYTES:  # one that is longer was not read to its end
        with contextlib.suppress(ValueError):
            return nothing(json_reader.loads(data))
    return not_json(data, endpoint, reason)


def _rows(values: list[dict[str, Any]] | None, kind: type[list[T]]) -> list[T]:
    try:
        return msgspec.convert(values or [], kind)
    except msgspec.ValidationError:
        found: list[T] = coercion.converted(values, kind)
        return found
