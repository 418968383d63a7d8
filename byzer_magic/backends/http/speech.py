"""Speaking text of any length through providers that take a little at a time."""

from __future__ import annotations

import functools
import re
import struct
from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from byzer_magic.backends.http.retry import retried
from byzer_magic.errors import BadRequest, ProviderUnavailable, suggest
from byzer_magic.types import AudioChunk

_STOPS = re.compile(r"[.!?…。！？；]++[\"'”’)」』）】》]*+\s*+|\n\s*+")
"""What may end a sentence, with the space behind it; possessive: a long row of dots costs no more than words do."""
_WIDE = re.compile(r"[。！？；…]")
"""Marks that end a sentence even where no space follows."""
_PAUSE = re.compile(r"[,;:，、：](?=\s|[^\x00-\x7f]|$)|\s")
"""Where a sentence that is too long may be cut."""
_GLUE = re.compile(r"[\u0300-\u036f\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]")
"""Marks that belong to the character before them (accents, joiners and skin colours of emoji)."""

SLICE_BYTES = 1024 * 1024
CHAINED = ("audio/mpeg", "audio/aac", "audio/pcm", "audio/ogg", "audio/basic")
"""Formats whose files may simply follow each other."""
WAV = ("audio/wav", "audio/x-wav")

_NOT_SENT = ("model", "stream", "stream_format", "chunk_size", "user", "extra_headers", "extra_body")
"""Options of OpenAI's and of older notebooks that say nothing of the speech itself."""

Say = Callable[[str], AsyncIterator[bytes]]
"""Speaks one piece of text, yielding the file's bytes as they come."""


def without_lone_surrogates(text: str) -> str:
    """Return `text` with the halves of characters united (JSON may bring emoji so), and without lone ones."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")


def utf8(text: str) -> int:
    """Return how long `text` is in UTF-8."""
    return len(text.encode())


def split(text: str, limit: int, size: Callable[[str], int] = len) -> list[str]:
    """Return `text` in pieces of at most `limit` (characters, or what `size` measures), cut at sentences.

    A sentence that is too long by itself is cut at a comma or a space, and where there is none, anywhere. Joined, the
    pieces are the text again, but for the spaces at the cuts. `size` counts at least one for each character, and one
    character is never cut, whatever its size.
    """
    pieces = [""]
    for sentence in _sentences(text.strip()):
        for part in _parts(sentence, limit, size):
            joined = pieces[-1] + part
            if size(joined.strip()) <= limit:
                pieces[-1] = joined
            else:
                pieces.append(part)
    return [piece.strip() for piece in pieces if piece.strip()]


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for stop in _STOPS.finditer(text):
        mark = stop.group()
        if mark[-1].isspace() or stop.end() == len(text) or _WIDE.search(mark):  # the dot of 3.14 ends nothing
            yield text[start : stop.end()]
            start = stop.end()
    if start < len(text):
        yield text[start:]


def _parts(sentence: str, limit: int, size: Callable[[str], int]) -> Iterator[str]:
    while size(sentence.strip()) > limit:
        end = _cut(sentence[: limit + 1], limit, size)
        yield sentence[:end]
        sentence = sentence[end:].lstrip()
    if sentence:
        yield sentence


def _cut(text: str, limit: int, size: Callable[[str], int]) -> int:
    """Return how much of `text`, which is too long, may come first."""
    end = max(1, bisect_right(range(1, len(text) + 1), limit, key=lambda length: size(text[:length])))
    pauses = [pause.end() for pause in _PAUSE.finditer(text) if pause.end() <= end]
    if text[end : end + 1].isspace():
        return end
    if pauses:
        return pauses[-1]
    whole = end
    while whole and (_GLUE.match(text, whole) or text[whole - 1] == "\u200d"):
        whole -= 1
    return whole or end


async def synthesized(pieces: Sequence[str], mime: str, say: Say, tries: int = 0) -> AsyncGenerator[AudioChunk, None]:
    """Yield the sound of all pieces as one file: as it comes, where the format allows.

    Each piece is a request of its own, tried again up to `tries` times before it begins; the first one by the pool, as
    nothing has come yet.

    Raises:
        BadRequest: there is nothing to say, or there are several pieces, and files of this type cannot be joined.
        ProviderUnavailable: what should be joined is no WAV file.
    """
    if not pieces:
        raise BadRequest("There is no text to speak.", "Give some text.")
    if len(pieces) == 1 or mime in CHAINED:
        for number, piece in enumerate(pieces):
            start = functools.partial(say, piece)
            async with aclosing(retried(start, tries if number else 0)) as blocks:
                async for block in blocks:
                    if block:
                        yield AudioChunk(block, mime)
        return
    if mime not in WAV:
        raise BadRequest(
            f"The text is too long for one piece, and pieces of {mime} cannot be joined.",
            "Choose the format mp3 or wav, or shorten the text.",
        )
    for sound in audio_chunks(
        join_wav([await _whole(functools.partial(say, piece), tries if n else 0) for n, piece in enumerate(pieces)]),
        mime,
    ):
        yield sound


async def _whole(start: Callable[[], AsyncIterator[bytes]], tries: int) -> bytes:
    async with aclosing(retried(start, tries)) as blocks:
        return b"".join([block async for block in blocks])


def known_options(options: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """Return what a request asks for, in our names; `known` leads there from all names that it may use.

    Raises:
        BadRequest: an option is not known.
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        if value is None or name in _NOT_SENT:
            continue
        if name not in known:
            hint = suggest(name, known, f"It takes: {', '.join(known)}.")
            raise BadRequest(f"This voice has no option {name}.", hint)
        if name == known[name] or known[name] not in found:
            found[known[name]] = value
    return found


def number(name: str, value: Any, low: float, high: float) -> float:
    """Return `value` as a number.

    Raises:
        BadRequest: it is none, or not in `low`..`high`.
    """
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = float("nan")
    if not low <= found <= high:
        raise BadRequest(f"{name} is {value!r}, which is not in {low:g}..{high:g}.", "1 is normal.")
    return found


def audio_chunks(data: bytes, mime: str) -> Iterator[AudioChunk]:
    """Yield one file in pieces that fit into messages, however long it is."""
    for start in range(0, len(data), SLICE_BYTES):
        yield AudioChunk(data[start : start + SLICE_BYTES], mime)


def join_wav(files: Sequence[bytes]) -> bytes:
    """Return WAV files of the same format as one.

    Not with the module `wave`: it knows neither A-law nor headers of streams, whose length is 0 or the largest number.

    Raises:
        ProviderUnavailable: they are no WAV files, or their formats differ.
    """
    parts = [_wav(data) for data in files]
    form = parts[0][0]
    if any(other != form for other, _ in parts):
        raise _unjoinable("their formats differ")
    return _chunked(form, b"".join([samples for _, samples in parts]))


def wav(samples: bytes, rate: int) -> bytes:
    """Return 16-bit mono samples as a WAV file."""
    return _chunked(struct.pack("<HHIIHH", 1, 1, rate, rate * 2, 2, 16), samples)


def _wav(data: bytes) -> tuple[bytes, bytes]:
    """Return the format and the samples of a WAV file."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise _unjoinable("one is no WAV file")
    form, at = b"", 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + length]
        if name == b"fmt ":
            form = body
        if name == b"data" and form:
            return form, body or data[at + 8 :]
        at += 8 + length + length % 2
    raise _unjoinable("one has no samples")


def _chunked(form: bytes, samples: bytes) -> bytes:
    chunks = [(b"fmt ", form), (b"data", samples)]
    body = b"".join([struct.pack("<4sI", name, len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks])
    return struct.pack("<4sI4s", b"RIFF", 4 + len(body), b"WAVE") + body


def _unjoinable(why: str) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"The pieces of the sound cannot be joined: {why}.", "Choose the format mp3.", final=True
    )
