"""Pictures and sounds from whatever people have at hand: files, addresses, bytes, figures, widgets."""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.client
import io
import re
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from byzer_magic.errors import CommandError, suggest
from byzer_magic.media import wav
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
    (0, b"\xff\xfa", "audio/mpeg"),
    (0, b"\xff\xe3", "audio/mpeg"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypmif1", "image/heic"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftyp", "audio/mp4"),
    (0, b"\x1aE\xdf\xa3", "audio/webm"),
)
"""Where a file says what it is: offset, bytes, media type. (puremagic knows neither bare MP3 frames nor audio/wav.)"""

ADDRESS = re.compile(r"https?://", re.IGNORECASE)
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
    if isinstance(source, str) and ADDRESS.match(source):
        return Media(kind, url=source)
    if isinstance(source, str) and source[:5].lower() == "data:":
        return _from_data_url(source, kind)
    if isinstance(source, str | Path):
        return _with_type(_read(source, kind), kind, name=str(source) if kind == "audio" else "")
    data = _bytes_of(source)
    if not data and isinstance(url := getattr(source, "url", None), str) and ADDRESS.match(url):
        return Media(kind, url=url)
    if data is None:
        data = _made(source, kind, other)
    return _with_type(data, kind)


def _made(source: Any, kind: str, other: Callable[[Any], bytes | None]) -> bytes:
    """Return the bytes that `other` makes of an object; whatever goes wrong with it is an object of the wrong kind."""
    name, hint = type(source).__name__, f"Give a path, a URL, bytes, or an object that shows {_AN[kind]}."
    try:
        data = other(source)
    except Exception as err:  # any object is welcome here, and each fails in its own way
        raise CommandError(f"{name} cannot be made {_AN[kind]}: {type(err).__name__}: {err}.", hint) from err
    if data is None:
        raise CommandError(f"{name} is no {kind}.", hint)
    return data


def _downloaded(url: str) -> Media:
    """Return the sound at an address: no provider takes that."""
    from urllib.error import HTTPError
    from urllib.request import urlopen

    shown, _, secret = url.partition("?")  # there may be a signature in it
    try:
        with urlopen(url, timeout=60) as answer:  # noqa: S310 - _media lets http and https through, nothing else
            data = answer.read(LARGEST_BYTES + 1)
            cut_off = bool(answer.length) and len(data) <= LARGEST_BYTES
    except (OSError, ValueError, http.client.HTTPException) as err:
        if isinstance(err, HTTPError):
            err.close()  # it is the answer, too
        why = str(err).replace(secret or "?", "...")
        raise CommandError(f"Cannot read {shown}: {why}.", "Check it, or download the file yourself.") from None
    if cut_off:
        raise CommandError(f"Cannot read {shown}: it ended too early.", "Try again, or download the file yourself.")
    if len(data) > LARGEST_BYTES:
        raise CommandError(f"{shown} has more than 512 MB.", "Cut it into pieces.")
    return _with_type(data, "audio")


_AN = {"image": "a picture", "audio": "a sound"}


def _read(source: str | Path, kind: str) -> bytes:
    try:
        path = Path(source).expanduser()
        if path.exists() and not path.is_file():  # a device may have no end
            raise CommandError(
                f"{path} is {'a directory' if path.is_dir() else 'no file'}.", f"Give the path of the {kind}."
            )
        if path.stat().st_size > LARGEST_BYTES:
            raise CommandError(f"{path} has {path.stat().st_size >> 20} MB, more than 512.", "Cut it into pieces.")
        return path.read_bytes()
    except (OSError, ValueError, RuntimeError) as err:  # ValueError: a NUL in it; RuntimeError: no such ~user
        text = str(source)
        shown = text if len(text) < 200 else f"{text[:60]}... ({len(text)} characters)"
        why = getattr(err, "strerror", None) or err
        raise CommandError(f"Cannot read {shown}: {why}.", _near(text, kind)) from None


def _near(text: str, kind: str) -> str:
    """Return a hint: the file with the nearest name, where there is one."""
    path = Path(text)
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        folder = path.expanduser().parent
        folder = folder if folder.is_dir() else Path()
        if hint := suggest(path.name, [item.name for item in folder.iterdir()], folder=folder):
            return hint
    return f"Give the path of the {kind}, a data: URL, or a variable."


def _from_data_url(text: str, kind: str) -> Media:
    """Return what a data: URL holds (https://www.rfc-editor.org/rfc/rfc2397)."""
    head, comma, body = text[5:].partition(",")
    mime, *more = head.lower().split(";")
    try:
        raw = urllib.parse.unquote_to_bytes(body)
        if "base64" not in (part.strip() for part in more):
            data = raw
        else:
            whole = b"".join(raw.split()).rstrip(b"=").translate(_URL_SAFE)
            data = base64.b64decode(whole + b"=" * (-len(whole) % 4), validate=True)
    except binascii.Error as err:
        raise CommandError(f"The data: URL cannot be read: {err}.", "It must be data:TYPE;base64,DATA.") from err
    if not comma:
        raise CommandError("The data: URL cannot be read: it has no comma.", "It must be data:TYPE;base64,DATA.")
    return _with_type(data, kind, mime.strip())


_URL_SAFE = bytes.maketrans(b"-_", b"+/")
"""Some libraries write base64 in its form for addresses."""


def _bytes_of(source: Any) -> bytes | None:
    """Return the bytes of an object that has some: bytes, an open file, a widget, an IPython display object."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if hasattr(source, "audio") and hasattr(source.audio, "value"):  # ipywebrtc.AudioRecorder
        source = source.audio
    for name in ("value", "data"):
        found = getattr(source, name, None)
        if isinstance(found, bytes | bytearray | memoryview) and not hasattr(source, "dtype"):
            return bytes(found)
    return _file_bytes(source)


def _file_bytes(source: Any) -> bytes | None:
    """Return what an open file holds, or None."""
    if isinstance(source, io.BytesIO):
        return source.getvalue()  # who has just written into it stands at its end
    if not (isinstance(source, io.IOBase) or hasattr(source, "file")):  # tempfile's wrappers are no IOBase
        return None
    if isinstance(source, io.TextIOBase):
        raise CommandError("The file is open as text.", 'Open it with open(path, "rb"), or give the path.')
    try:
        data = source.read()
    except (AttributeError, OSError, ValueError) as err:  # io.UnsupportedOperation is both of the last
        raise CommandError(f"The file cannot be read: {err}.", 'Open it with open(path, "rb").') from err
    return data if isinstance(data, bytes) else None


def _drawn(source: Any) -> bytes | None:
    """Return a PNG of a figure, a PIL image, an array, or anything that Jupyter can show as a picture."""
    if getattr(source, "mode", None) in ("CMYK", "YCbCr", "LAB", "HSV", "F"):  # PIL's, of which PNG knows nothing
        source = source.convert("RGB")
    figure = getattr(source, "figure", None) or source  # of matplotlib's axes
    for draw in ("savefig", "save"):
        if hasattr(figure, draw):
            buffer = io.BytesIO()
            getattr(figure, draw)(buffer, format="png")
            return buffer.getvalue()
    for name in ("_repr_png_", "_repr_jpeg_"):
        shown = getattr(source, name, lambda: None)()
        if shown:
            shown = shown[0] if isinstance(shown, tuple) else shown  # with metadata beside it
            return shown if isinstance(shown, bytes) else base64.b64decode(shown)
    if hasattr(source, "__array_interface__"):
        from PIL import Image  # who has arrays of pixels has PIL

        return _drawn(Image.fromarray(_pixels(source)))
    return None


def _pixels(source: Any) -> Any:
    """Return an array as PIL takes it: bytes; floats are 0..1, as matplotlib has them."""
    import numpy as np

    pixels = np.asarray(source)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype.kind == "f":
        return (np.clip(np.nan_to_num(pixels), 0, 1) * 255).round().astype(np.uint8)
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize > 1:
        if pixels.size and (pixels.min() < 0 or pixels.max() > 255):
            raise ValueError("its numbers are not in 0..255")
        return pixels.astype(np.uint8)
    return pixels


def _sampled(source: Any) -> bytes | None:
    """Return a WAV of (samples, rate), or (rate, samples) as scipy reads it."""
    if not (isinstance(source, tuple) and len(source) == 2):
        return None
    import numpy as np

    rate, samples = source if np.ndim(source[0]) == 0 else (source[1], source[0])
    samples = _sixteen_bits(np.asarray(samples))
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        samples = samples.T
    if samples.ndim not in (1, 2):
        raise ValueError(f"samples have {samples.ndim} dimensions")
    if not samples.size:
        return b""
    channels = samples.shape[1] if samples.ndim == 2 else 1
    return wav.write(np.ascontiguousarray(samples, dtype="<i2").tobytes(), int(rate), channels)


def _sixteen_bits(samples: Any) -> Any:
    """Return samples as 16-bit integers: floats are -1..1, other integers fill the range of their type."""
    import numpy as np

    if samples.dtype.kind == "f":
        return (np.clip(np.nan_to_num(samples), -1, 1) * 32767).astype("<i2")
    if samples.dtype == np.uint8:  # 8-bit WAV has its silence at 128
        return (samples.astype("<i2") - 128) << 8
    if samples.dtype == np.int32:
        return (samples >> 16).astype("<i2")
    if samples.dtype.kind not in "iu" or samples.min(initial=0) < -32768 or samples.max(initial=0) > 32767:
        raise ValueError(f"samples are {samples.dtype}, and not 16-bit integers or floats in -1..1")
    return samples.astype("<i2")


def _with_type(data: bytes, kind: str, stated: str = "", name: str = "") -> Media:
    return Media(mime_of(data) or (stated if stated.startswith(kind) else f"{kind}/unknown"), data, name=name)


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
