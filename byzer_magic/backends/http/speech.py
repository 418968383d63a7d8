"""Text to speech of any length, through providers that take a limited text per request."""

from __future__ import annotations

import functools
import re
from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from byzer_magic.backends.http.retry import retried
from byzer_magic.errors import BadRequest, ByzerError, ProviderUnavailable, suggest
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.media import formats, wav
from byzer_magic.types import AudioChunk

_STOPS = re.compile(r"[.!?…。！？；]++[\"'”’)」』）】》]*+\s*+|\n\s*+")
"""What may end a sentence, with the space after it; possessive: a long run of dots costs no more than words do."""
_WIDE = re.compile(r"[。！？；…]")
"""Marks that end a sentence even where no space follows."""
_PAUSE = re.compile(r"[,;:，、：](?=\s|[^\x00-\x7f]|$)|\s")
"""Where a sentence that is too long may be split."""
_GLUE = re.compile(r"[\u0300-\u036f\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]")
"""Marks that belong to the character before them (accents, joiners and skin tones of emoji)."""

CHUNK_BYTES = 1024 * 1024
CONCATENABLE = ("audio/mpeg", "audio/aac", "audio/pcm", "audio/ogg", "audio/basic")
"""Formats whose files may simply be concatenated."""
HEAD_BYTES = 16
"""Bytes that tell the format of a file, and are held back until they are there."""
TOLD_BYTES = 64
"""Bytes of a response that are gathered to tell audio from a text; the header of a WAV file has 44."""
LARGEST_TEXT = 1024 * 1024
"""Bytes of a text that are read when one comes in place of audio."""

_NOT_SENT = ("model", "stream", "stream_format", "chunk_size", "user", "extra_headers", "extra_body")
"""Options of OpenAI's and of older notebooks that do not concern the speech itself."""

SendText = Callable[[str], AsyncIterator[AudioChunk]]
"""Sends one part of the text; yields its audio file as it arrives, with the type of the response's header, or none."""


def without_lone_surrogates(text: str) -> str:
    r"""Return `text` with surrogate pairs united (JSON may bring emoji so), and without lone surrogates.

    Example:
        >>> without_lone_surrogates("\ud83d\ude00 \ud83d") == "\U0001f600 "
        True
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")


def utf8_length(text: str) -> int:
    """Return the length of `text` in UTF-8, in bytes."""
    return len(text.encode())


def split(text: str, limit: int, size: Callable[[str], int] = len) -> list[str]:
    """Return `text` in parts, split after sentences.

    A sentence that is itself too long is split at a comma or a space, and where there is none, anywhere. Joined, the
    parts are the text again, except for spaces where it was split.

    Args:
        text: the text.
        limit: the maximum size of a part.
        size: measures a text, by default in characters; at least one for each character. A single character is never
            split, whatever its size.

    Example:
        >>> split("One two. Three four five.", limit=12)
        ['One two.', 'Three four', 'five.']
    """
    parts = [""]
    for sentence in _sentences(text.strip()):
        for fragment in _fragments(sentence, limit, size):
            joined = parts[-1] + fragment
            if size(joined.strip()) <= limit:
                parts[-1] = joined
            else:
                parts.append(fragment)
    return [part.strip() for part in parts if part.strip()]


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for stop in _STOPS.finditer(text):
        mark = stop.group()
        if mark[-1].isspace() or stop.end() == len(text) or _WIDE.search(mark):  # the dot of 3.14 ends nothing
            yield text[start : stop.end()]
            start = stop.end()
    if start < len(text):
        yield text[start:]


def _fragments(sentence: str, limit: int, size: Callable[[str], int]) -> Iterator[str]:
    while size(sentence.strip()) > limit:
        end = _split_at(sentence[: limit + 1], limit, size)
        yield sentence[:end]
        sentence = sentence[end:].lstrip()
    if sentence:
        yield sentence


def _split_at(text: str, limit: int, size: Callable[[str], int]) -> int:
    """Return where to split `text`, which is too long."""
    end = max(1, bisect_right(range(1, len(text) + 1), limit, key=lambda length: size(text[:length])))
    pauses = [pause.end() for pause in _PAUSE.finditer(text) if pause.end() <= end]
    if text[end : end + 1].isspace():
        return end
    if pauses:
        return pauses[-1]
    start = end  # of a character: what is glued to it stays with it
    while start and (_GLUE.match(text, start) or text[start - 1] == "\u200d"):
        start -= 1
    return start or end


async def audio_of(
    blocks: AsyncIterator[bytes], header: str, refused: Callable[[bytes], Exception]
) -> AsyncGenerator[AudioChunk, None]:
    """Yield the body of a response as audio; nothing where it is the header of a WAV file alone.

    Args:
        blocks: the body.
        header: its Content-Type.
        refused: returns the error for a body that is a text, whatever the header says.

    Raises:
        Exception: the one that `refused` returns.
    """
    text = bytearray()
    first = True
    async for block in _gathered(blocks):
        if first:
            first = False
            if len(block) < TOLD_BYTES and _is_empty_wav(block):
                return
            found = formats.mime_of(block) or ""
            is_text = formats.canonical(header) in formats.TEXTS and not found.startswith("audio/")
            if is_text or (found in formats.TEXTS and len(block) >= formats.TEXT_BYTES):
                text += block
                continue
        if not text:
            yield AudioChunk(block, header)
        elif len(text) < LARGEST_TEXT:
            text += block
    if text:
        raise refused(bytes(text))


async def _gathered(blocks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield blocks, the first of at least `TOLD_BYTES` where there are so many."""
    head, begun = bytearray(), False
    async for block in blocks:
        if begun:
            yield block
            continue
        head += block
        if len(head) >= TOLD_BYTES:
            begun = True
            yield bytes(head)
    if head and not begun:
        yield bytes(head)


def _is_empty_wav(data: bytes) -> bool:
    found = wav.chunks(data)
    return formats.mime_of(data) == "audio/wav" and not (found and found.data)


async def synthesized(
    parts: Sequence[str], mime: str, send: SendText, retries: int = 0
) -> AsyncGenerator[AudioChunk, None]:
    """Yield the audio of all parts as one file: as it arrives, where the format allows.

    Args:
        parts: the text, as `split` returns it.
        mime: the media type that is requested; what comes is what its bytes are.
        send: sends one part.
        retries: how often a part is sent again when it fails before its first byte; of the first part the pool decides,
            as nothing has been yielded yet.

    Raises:
        BadRequest: the text is empty, or it has several parts and files of this type cannot be joined.
        ProviderUnavailable: the files of the parts do not fit together.
    """
    if not parts:
        raise BadRequest(_("The text to speak is empty."), _("Pass some text."))
    files: list[bytes] = []
    type_of_all = ""
    _check_joinable(parts, mime)
    for number, part in enumerate(parts):
        data = bytearray()
        blocks = retried(functools.partial(send, part), retries if number else 0)
        async with aclosing(_typed(blocks, mime)) as chunks:
            async for chunk in chunks:
                if type_of_all and chunk.mime != type_of_all:
                    raise _not_joined(_("their formats differ"))
                if not type_of_all:
                    type_of_all = chunk.mime
                    _check_joinable(parts, type_of_all)
                if len(parts) == 1 or formats.canonical(type_of_all) in CONCATENABLE:
                    yield chunk
                else:
                    data += chunk.data
        files.append(bytes(data))
    if any(files):
        for chunk in audio_chunks(join_wav(files), type_of_all):
            yield chunk


def _check_joinable(parts: Sequence[str], mime: str) -> None:
    if len(parts) > 1 and formats.canonical(mime) not in (*CONCATENABLE, "audio/wav"):
        raise BadRequest(
            _("The text is too long for one request, and {format} files cannot be joined.", format=mime),
            _("Choose the format mp3 or wav, or shorten the text."),
        )


async def _typed(blocks: AsyncGenerator[AudioChunk, None], asked: str) -> AsyncGenerator[AudioChunk, None]:
    """Yield a file with its media type: by its first bytes, then the response's header, then what was requested."""
    head, header, mime = bytearray(), "", ""
    async with aclosing(blocks):
        async for block in blocks:
            if mime and block.data:
                yield AudioChunk(block.data, mime)
            elif not mime:
                head += block.data
                header = header or block.mime
                if len(head) >= HEAD_BYTES:
                    mime = formats.typed(bytes(head), "audio", header, asked) or asked
                    yield AudioChunk(bytes(head), mime)
    if head and not mime:
        yield AudioChunk(bytes(head), formats.typed(bytes(head), "audio", header, asked) or asked)


def known_options(options: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of a request by our names.

    Args:
        options: the options as the request has them; those without a value are left out.
        known: our name for each name that a request may use.

    Raises:
        BadRequest: an option is not known.

    Example:
        >>> known_options({"speed": 1.5, "model": "tts-1"}, {"speed": "rate", "rate": "rate"})
        {'rate': 1.5}
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        if value is None or name in _NOT_SENT:
            continue
        if name not in known:
            hint = suggest(name, known, _("Options: {names}.", names=listed(known)))
            raise BadRequest(_("Text to speech has no option {name!r}.", name=name), hint)
        if name == known[name] or known[name] not in found:
            found[known[name]] = value
    return found


def number(
    name: str, value: Any, low: float, high: float, refused: type[ByzerError] = BadRequest, hint: str = ""
) -> float:
    """Return `value` as a number in `low`..`high`.

    Args:
        name: of the option, for the message.
        value: as given.
        low: the least it may be.
        high: the most it may be.
        refused: the class of the error.
        hint: of the error (default: to choose another number).

    Raises:
        ByzerError: it is not one; of the class `refused`.

    Example:
        >>> number("speed", "1.5", 0.5, 2.0)
        1.5
    """
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = float("nan")
    if not low <= found <= high:
        raise refused(
            _("{name} is {value!r}, which is not in {low:g}..{high:g}.", name=name, value=value, low=low, high=high),
            hint or _("Choose a number in that range."),
        )
    return found


def audio_chunks(data: bytes, mime: str) -> Iterator[AudioChunk]:
    """Yield one file in chunks that fit into messages, however long it is."""
    for start in range(0, len(data), CHUNK_BYTES):
        yield AudioChunk(data[start : start + CHUNK_BYTES], mime)


def join_wav(files: Sequence[bytes]) -> bytes:
    """Return WAV files of the same format as one.

    Raises:
        ProviderUnavailable: they are not WAV files, or their formats differ.
    """
    try:
        return wav.join(files)
    except ValueError as err:
        raise _not_joined(err.args[0]) from err


def _not_joined(reason: str) -> ProviderUnavailable:
    return ProviderUnavailable(
        _("The audio files cannot be joined: {reason}.", reason=reason), _("Choose the format mp3."), final=True
    )
