"""Pictures and sounds from whatever people have at hand: files, addresses, bytes, figures, widgets."""

from __future__ import annotations

import base64
import binascii
import difflib
import io
import re
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

from byzer_magic.errors import CommandError
from byzer_magic.types import Media

SIGNATURES = (
    (0, b"\x89PNG", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"BM", "image/bmp"),
    (8, b"WAVE", "audio/wav"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"\xff\xf2", "audio/mpeg"),
    (0, b"\xff\xf1", "audio/aac"),
    (0, b"\xff\xf9", "audio/aac"),
    (4, b"ftyp", "audio/mp4"),
    (0, b"\x1aE\xdf\xa3", "audio/webm"),
)
"""Where a file says what it is: offset, bytes, media type. (puremagic knows neither bare MP3 frames nor audio/wav.)"""

DATA_URL = re.compile(r"data:(?P<mime>[\w.+/-]*)[^,]*?(?P<base64>;base64)?,", re.IGNORECASE)
LARGEST_BYTES = 512 * 1024 * 1024
"""A larger file is taken for a mistake."""


def mime_of(data: bytes) -> str | None:
    """Return the media type that the first bytes of a file tell, or None."""
    return next((mime for at, mark, mime in SIGNATURES if data[at : at + len(mark)] == mark), None)


def image(source: Any) -> Media:
    """Return a picture from a path, a URL, bytes, a PIL image, a matplotlib figure, an array or an image widget.

    Raises:
        CommandError: there is no picture in it; the text says what it is instead.
    """
    return _checked(_media(source, "image", _drawn), "image")


def audio(source: Any) -> Media:
    """Return a sound from a path, bytes, an audio widget, or a pair (samples, rate).

    Raises:
        CommandError: there is no sound in it; the text says what it is instead.
    """
    found = _media(source, "audio", _sampled)
    return _checked(_downloaded(found.url) if found.url else found, "audio")


def _media(source: Any, kind: str, other: Callable[[Any], bytes | None]) -> Media:
    if isinstance(source, Media):
        return source
    if isinstance(source, str) and re.match(r"https?://", source):
        return Media(kind, url=source)
    if isinstance(source, str) and (match := DATA_URL.match(source)):
        return _from_data_url(source, match, kind)
    if isinstance(source, str | Path):
        return _with_type(_read(Path(source).expanduser(), kind), kind)
    data = _bytes_of(source) or other(source)
    if data is None:
        raise CommandError(
            f"{type(source).__name__} is no {kind}.", f"Give a path, a URL, bytes, or an object that shows {_AN[kind]}."
        )
    return _with_type(data, kind)


def _downloaded(url: str) -> Media:
    """Return the sound at an address: providers take no addresses of sounds."""
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=60) as answer:  # noqa: S310 - _media lets http and https through, nothing else
            return _with_type(answer.read(LARGEST_BYTES), "audio")
    except OSError as err:
        raise CommandError(f"Cannot read {url}: {err}.", "Check the address, or download the file yourself.") from err


_AN = {"image": "a picture", "audio": "a sound"}


def _read(path: Path, kind: str) -> bytes:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise CommandError(
                f"{path} has {path.stat().st_size >> 20} MB.", "The limit is 512 MB; cut it into pieces."
            )
        return path.read_bytes()
    except OSError as err:
        folder = path.parent if path.parent.is_dir() else Path()
        near = difflib.get_close_matches(path.name, [item.name for item in folder.iterdir()], n=1)
        hint = f"Did you mean {path.parent / near[0]}?" if near else f"Give the path of the {kind}, or a variable."
        raise CommandError(f"Cannot read {path}: {err.strerror}.", hint) from None


def _from_data_url(text: str, match: re.Match[str], kind: str) -> Media:
    try:
        data = base64.b64decode(text[match.end() :], validate=False)
    except binascii.Error as err:
        raise CommandError(f"The data: URL cannot be read: {err}.", "It must be data:TYPE;base64,DATA.") from err
    return _with_type(data, kind, match["mime"])


def _bytes_of(source: Any) -> bytes | None:
    """Return the bytes of an object that has some: bytes, an open file, a widget, an IPython display object."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if hasattr(source, "audio") and hasattr(source.audio, "value"):  # ipywebrtc.AudioRecorder
        source = source.audio
    for name in ("value", "data"):
        found = getattr(source, name, None)
        if isinstance(found, bytes | memoryview) and not hasattr(source, "dtype"):
            return bytes(found)
    if isinstance(source, io.IOBase):
        data: bytes = source.read()
        return data
    return None


def _drawn(source: Any) -> bytes | None:
    """Return a PNG of a figure, a PIL image, an array, or anything that Jupyter can show as a picture."""
    figure = getattr(source, "figure", None) or source  # of matplotlib's axes
    for draw in ("savefig", "save"):
        if hasattr(figure, draw):
            buffer = io.BytesIO()
            getattr(figure, draw)(buffer, format="png")
            return buffer.getvalue()
    for name in ("_repr_png_", "_repr_jpeg_"):
        shown = getattr(source, name, lambda: None)()
        if shown:
            return shown if isinstance(shown, bytes) else base64.b64decode(shown)
    if hasattr(source, "__array_interface__"):
        from PIL import Image  # who has arrays of pixels has PIL

        return _drawn(Image.fromarray(source))
    return None


def _sampled(source: Any) -> bytes | None:
    """Return a WAV of (samples, rate), or (rate, samples) as scipy reads it: floats in -1..1, or 16-bit integers."""
    if not (isinstance(source, tuple) and len(source) == 2):
        return None
    import numpy as np

    rate, samples = source if isinstance(source[0], int) else (source[1], source[0])
    samples = np.asarray(samples)
    if samples.dtype.kind == "f":
        samples = (np.clip(samples, -1, 1) * 32767).astype("<i2")
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        samples = samples.T
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((samples.shape[1] if samples.ndim == 2 else 1, 2, int(rate), 0, "NONE", ""))
        file.writeframes(np.ascontiguousarray(samples, dtype="<i2").tobytes())
    return buffer.getvalue()


def _with_type(data: bytes, kind: str, stated: str = "") -> Media:
    return Media(mime_of(data) or (stated if stated.startswith(kind) else f"{kind}/unknown"), data)


def _checked(media: Media, kind: str) -> Media:
    """Return the medium if it has the right kind of bytes."""
    if media.url:
        return media
    if not media.data:
        raise CommandError(f"The {kind} is empty.", "Record or load it first.")
    if not media.mime.startswith(kind) or media.mime.endswith("/unknown"):
        found = f"{media.mime} data" if not media.mime.endswith("/unknown") else f"no {kind} format known here"
        raise CommandError(f"That is not {_AN[kind]}: it is {found}.", _FORMATS[kind])
    return media


_FORMATS = {
    "image": "Known are PNG, JPEG, GIF, WebP and BMP.",
    "audio": "Known are WAV, MP3, M4A, FLAC, OGG, AAC and WebM.",
}
