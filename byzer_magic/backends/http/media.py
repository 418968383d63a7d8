"""Images, audio and embeddings in the forms that providers take and return."""

from __future__ import annotations

import base64
import binascii
import math
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from byzer_magic.backends.http.endpoint import Endpoint
from byzer_magic.backends.http.errors import unreadable
from byzer_magic.errors import BadRequest
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import Media

AUDIO_TYPES = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "pcm": "audio/pcm",
}
"""Media types of the audio formats of text to speech."""


def to_base64(media: Media) -> str:
    """Return the bytes of a medium as base64 text.

    Raises:
        BadRequest: there is only a URL, and the provider does not accept URLs.

    Example:
        >>> to_base64(Media("image/png", b"abc"))
        'YWJj'
    """
    if not media.data:
        raise BadRequest(
            _("This provider does not accept media URLs: {url}", url=media.url),
            _("Download the file, and pass it or its bytes."),
        )
    return base64.b64encode(media.data).decode()


def data_url(media: Media) -> str:
    """Return the URL of a medium: its own, or a ``data:`` URL with its bytes.

    Example:
        >>> data_url(Media("image/png", b"abc"))
        'data:image/png;base64,YWJj'
    """
    return media.url or f"data:{media.mime};base64,{to_base64(media)}"


def from_base64(text: str) -> bytes:
    r"""Return what is written in base64, also in its form for URLs, in lines, or without the padding.

    Raises:
        ValueError: it is not base64.

    Example:
        >>> from_base64("-_8="), from_base64("+/8"), from_base64("YW\nJj")
        (b'\xfb\xff', b'\xfb\xff', b'abc')
    """
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        plain = "".join(text.split()).translate(_FROM_URL).rstrip("=")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)


_FROM_URL = str.maketrans("-_", "+/")


def to_float32(embedding: str | list[Any]) -> bytes:
    """Return one embedding as little-endian float32: from base64 of that, a list, or a list in a list.

    Raises:
        ValueError: it is none of these, or has NaN or a number that is too large.

    Example:
        >>> to_float32([1.0, 0.5]).hex(), to_float32("AACAPw==").hex()
        ('0000803f0000003f', '0000803f')
    """
    if isinstance(embedding, str):
        data = from_base64(embedding)
        if len(data) % 4:
            raise ValueError("not float32")
        numbers = array("f", data)
        if sys.byteorder == "big":
            numbers.byteswap()
        _check_finite(numbers)
        return data
    row: Any = embedding[0] if embedding and isinstance(embedding[0], list) else embedding
    try:
        numbers = array("f", row)
    except (TypeError, OverflowError):
        numbers = _floats(row)
    _check_finite(numbers)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _check_finite(numbers: array[float]) -> None:
    if not math.isfinite(sum(numbers)):  # as doubles, float32 cannot add up to more
        raise ValueError("not finite")


def _floats(row: list[Any]) -> array[float]:
    """Return numbers that are written as text."""
    try:
        return array("f", [float(number) for number in row])
    except (TypeError, OverflowError) as err:
        raise ValueError(str(err)) from None


def packed(embeddings: Sequence[str | list[Any]], endpoint: Endpoint) -> list[bytes]:
    """Return embeddings as float32.

    Raises:
        ProviderUnavailable: one of them is not a list of numbers, or they are of different lengths.
    """
    try:
        found = [to_float32(embedding) for embedding in embeddings]
    except ValueError:
        raise unreadable(endpoint, _("an embedding is not a list of numbers")) from None
    if len({len(row) for row in found}) > 1 or (found and not found[0]):
        raise unreadable(endpoint, _("the embeddings are empty, or of different lengths"))
    return found


def ranked(scores: Iterable[tuple[int, float | None]], documents: int, endpoint: Endpoint) -> list[tuple[int, float]]:
    """Return index and score of documents, the most relevant first.

    Raises:
        ProviderUnavailable: a score is missing, repeated, or for an unknown document.
    """
    pairs = list(scores)
    found = {index: score for index, score in pairs if score is not None and 0 <= index < documents}
    if len(found) < len(pairs):
        raise unreadable(endpoint, _("the ranking does not fit the documents"))
    return sorted(found.items(), key=lambda pair: -pair[1])
