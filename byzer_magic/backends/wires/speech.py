"""Speaking text of any length through providers that take a little at a time."""

from __future__ import annotations

import io
import re
import wave
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing

from byzer_magic.errors import BadRequest
from byzer_magic.types import Sound

SENTENCE = re.compile(r".+?(?:[.!?…]+[\"'”’)]*(?=\s|$)|[。！？；…]+[”’」）]*|\n+|$)\s*", re.DOTALL)
"""A sentence with the space behind it, in languages with and without spaces."""
CHAINED = ("audio/mpeg", "audio/aac", "audio/pcm", "audio/ogg", "audio/basic")
"""Formats whose files may simply follow each other."""

Say = Callable[[str], AsyncIterator[bytes]]
"""Speaks one piece of text, yielding the file's bytes as they come."""


def split(text: str, limit: int, size: Callable[[str], int] = len) -> list[str]:
    """Return `text` in pieces of at most `limit` (characters, or what `size` measures), cut at sentences.

    A sentence that is too long by itself is cut at a space, and where there is none, anywhere. Joined, the pieces are
    the text again, but for the spaces at the cuts.
    """
    pieces = [""]
    for sentence in SENTENCE.findall(text):
        for part in _parts(sentence, limit, size):
            if size(pieces[-1] + part) <= limit:
                pieces[-1] += part
            else:
                pieces.append(part)
    return [piece.strip() for piece in pieces if piece.strip()]


def _parts(sentence: str, limit: int, size: Callable[[str], int]) -> list[str]:
    parts = []
    while size(sentence) > limit:
        end = next(length for length in range(len(sentence), 0, -1) if size(sentence[:length]) <= limit or length == 1)
        space = sentence.rfind(" ", 1, end)
        end = space + 1 if space > 0 else end
        parts.append(sentence[:end])
        sentence = sentence[end:]
    return [*parts, sentence] if sentence else parts


async def spoken(pieces: Sequence[str], mime: str, say: Say) -> AsyncIterator[Sound]:
    """Yield the sound of all pieces as one file: as it comes, where the format allows.

    Raises:
        BadRequest: there are several pieces, and files of this type cannot be joined.
    """
    if len(pieces) == 1 or mime in CHAINED:
        for piece in pieces:
            async with aclosing(say(piece)) as blocks:  # type: ignore[type-var]  # async generators all
                async for block in blocks:
                    if block:
                        yield Sound(block, mime)
        return
    if mime not in ("audio/wav", "audio/x-wav"):
        raise BadRequest(
            f"The text is too long for one piece, and pieces of {mime} cannot be joined.",
            "Choose the format mp3 or wav, or shorten the text.",
        )
    files = [b"".join([block async for block in say(piece)]) for piece in pieces]
    yield Sound(join_wav(files), mime)


def join_wav(files: Sequence[bytes]) -> bytes:
    """Return WAV files of the same format as one."""
    joined = io.BytesIO()
    with wave.open(joined, "wb") as target:
        for number, data in enumerate(files):
            with wave.open(io.BytesIO(data)) as source:
                if not number:
                    target.setparams(source.getparams())
                target.writeframes(source.readframes(source.getnframes()))
    return joined.getvalue()
