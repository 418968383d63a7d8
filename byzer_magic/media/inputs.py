"""Read images and audio from whatever users have: files, URLs, bytes, figures, arrays, widgets."""

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
from byzer_magic.i18n import lazy_gettext as _
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
"""How the formats begin: offset, bytes, media type. We looked at puremagic; no, because it recognizes neither bare MP3
frames nor WAV as audio/wav."""

URL = re.compile(r"https?://", re.IGNORECASE)
LARGEST_BYTES = 512 * 1024 * 1024
"""A larger file is probably a mistake."""


def mime_of(data: bytes) -> str | None:
    r"""Return the media type of a file by its first bytes, or None if they are unknown.

    Example:
        >>> mime_of(b"\x89PNG\r\n"), mime_of(b"hello")
        ('image/png', None)
    """
    return next((mime for at, mark, mime in SIGNATURES if data[at : at + len(mark)] == mark), None)


def image(source: Any) -> Media:
    r"""Return an image as `Media`.

    Args:
        source: a path, a URL, a data: URL, bytes, an open file, a PIL image, a matplotlib figure, an image widget, or
            an array of shape (height, width) or (height, width, channels) with 0..255 or floats of 0..1.

    Raises:
        CommandError: it is not an image, or cannot be read.

    Example:
        >>> image(b"\x89PNG...").mime
        'image/png'
        >>> image("https://example.com/cat.png").url
        'https://example.com/cat.png'
    """
    return _checked(_media(source, "image", _png_of), "image")


def audio(source: Any) -> Media:
    """Return audio as `Media`; a URL is downloaded, since no provider takes one.

    Args:
        source: a path, a URL, a data: URL, bytes, an open file, an audio widget, or a pair (samples, rate): samples
            of shape (frames,) or (frames, channels) with 16-bit integers or floats of -1..1, and the rate in Hz.

    Raises:
        CommandError: it is not audio, or cannot be read.

    Example:
        >>> audio(b"fLaC...").mime
        'audio/flac'
    """
    found = _media(source, "audio", _wav_of)
    return _checked(_downloaded(found.url) if found.url else found, "audio")


def _media(source: Any, kind: str, convert: Callable[[Any], bytes | None]) -> Media:
    if isinstance(source, Media):
        return source
    if isinstance(source, str) and URL.match(source):
        return Media(kind, url=source)
    if isinstance(source, str) and source[:5].lower() == "data:":
        return _from_data_url(source, kind)
    if isinstance(source, str | Path):
        return _with_type(_read(source, kind), kind, name=str(source) if kind == "audio" else "")
    data = _bytes_of(source)
    if not data and isinstance(url := getattr(source, "url", None), str) and URL.match(url):
        return Media(kind, url=url)
    if data is None:
        data = _converted(source, kind, convert)
    return _with_type(data, kind)


def _converted(source: Any, kind: str, convert: Callable[[Any], bytes | None]) -> bytes:
    """Return the bytes that `convert` makes of an object."""
    name, hint = (
        type(source).__name__,
        _("Pass a path, a URL, bytes, or an object that contains {kind}.", kind=_KINDS[kind]),
    )
    try:
        data = convert(source)
    except Exception as err:  # any object may be given, and each fails in its own way
        message = _(
            "{name} cannot be converted to {kind}: {error} ({type}).",
            name=name, kind=_KINDS[kind], error=err, type=type(err).__name__,
        )  # fmt: skip
        raise CommandError(message, hint) from err
    if data is None:
        raise CommandError(_("{name} does not contain {kind}.", name=name, kind=_KINDS[kind]), hint)
    return data


def _downloaded(url: str) -> Media:
    """Return the audio at a URL."""
    from urllib.error import HTTPError
    from urllib.request import urlopen

    shown, _mark, secret = url.partition("?")  # a signature may be in it
    try:
        with urlopen(url, timeout=60) as response:  # noqa: S310 - _media passes http and https only
            data = response.read(LARGEST_BYTES + 1)
            truncated = bool(response.length) and len(data) <= LARGEST_BYTES
    except (OSError, ValueError, http.client.HTTPException) as err:
        if isinstance(err, HTTPError):
            err.close()  # it is the response, too
        why = str(err).replace(secret or "?", "...")
        hint = _("Check the URL, or download the file yourself.")
        raise CommandError(_("Cannot read {path}: {reason}.", path=shown, reason=why), hint) from None
    if truncated:
        hint = _("Try again, or download the file yourself.")
        raise CommandError(_("Cannot read {path}: the download was truncated.", path=shown), hint)
    if len(data) > LARGEST_BYTES:
        raise CommandError(_("{path} exceeds the limit of 512 MB.", path=shown), _("Split it into parts."))
    return _with_type(data, "audio")


_KINDS = {"image": _("an image"), "audio": _("audio")}


def _read(source: str | Path, kind: str) -> bytes:
    try:
        path = Path(source).expanduser()
        if path.exists() and not path.is_file():  # a device may have no end
            message = (
                _("{path} is a directory.", path=path)
                if path.is_dir()
                else _("{path} is not a regular file.", path=path)
            )
            raise CommandError(message, _PATH_HINTS[kind])
        if path.stat().st_size > LARGEST_BYTES:
            size = path.stat().st_size >> 20
            message = _("{path} is {size} MB, which exceeds the limit of 512 MB.", path=path, size=size)
            raise CommandError(message, _("Split it into parts."))
        return path.read_bytes()
    except (OSError, ValueError, RuntimeError) as err:  # ValueError: a NUL in it; RuntimeError: no such ~user
        text = str(source)
        shown = text if len(text) < 200 else f"{text[:60]}... ({len(text)} characters)"
        why = getattr(err, "strerror", None) or err
        raise CommandError(_("Cannot read {path}: {reason}.", path=shown, reason=why), _near(text, kind)) from None


def _near(text: str, kind: str) -> str:
    """Return a hint: the file with the nearest name, if any."""
    path = Path(text)
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        folder = path.expanduser().parent
        folder = folder if folder.is_dir() else Path()
        if hint := suggest(path.name, [item.name for item in folder.iterdir()], folder=folder):
            return hint
    return _ANY_HINTS[kind]


_PATH_HINTS = {"image": _("Pass the path of the image."), "audio": _("Pass the path of the audio file.")}
_ANY_HINTS = {
    "image": _("Pass the path of the image, a data: URL, or a variable."),
    "audio": _("Pass the path of the audio file, a data: URL, or a variable."),
}


def _from_data_url(url: str, kind: str) -> Media:
    """Return the content of a data: URL (https://www.rfc-editor.org/rfc/rfc2397)."""
    head, comma, body = url[5:].partition(",")
    mime, *more = head.lower().split(";")
    try:
        raw = urllib.parse.unquote_to_bytes(body)
        if "base64" not in (part.strip() for part in more):
            data = raw
        else:
            text = b"".join(raw.split()).rstrip(b"=").translate(_URL_SAFE)
            data = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as err:
        message = _("The data: URL is not valid: {error}.", error=err)
        raise CommandError(message, _("Write data:TYPE;base64,DATA.")) from err
    if not comma:
        raise CommandError(_("The data: URL is not valid: it has no comma."), _("Write data:TYPE;base64,DATA."))
    return _with_type(data, kind, mime.strip())


_URL_SAFE = bytes.maketrans(b"-_", b"+/")
"""Some libraries write base64 in its URL-safe form."""


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
    """Return the content of an open file, or None."""
    if isinstance(source, io.BytesIO):
        return source.getvalue()  # after writing, its position is the end
    if not (isinstance(source, io.IOBase) or hasattr(source, "file")):  # tempfile's wrappers are not an IOBase
        return None
    if isinstance(source, io.TextIOBase):
        raise CommandError(_("The file is open as text."), _('Open it with open(path, "rb"), or pass the path.'))
    try:
        data = source.read()
    except (AttributeError, OSError, ValueError) as err:  # io.UnsupportedOperation is both of the last
        message = _("The file cannot be read: {error}.", error=err)
        raise CommandError(message, _('Open it with open(path, "rb").')) from err
    return data if isinstance(data, bytes) else None


def _png_of(source: Any) -> bytes | None:
    """Return a PNG of a figure, a PIL image, an array, or anything that Jupyter shows as an image."""
    if getattr(source, "mode", None) in ("CMYK", "YCbCr", "LAB", "HSV", "F"):  # modes of PIL that PNG does not have
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
        from PIL import Image  # where arrays of pixels are made, PIL is installed

        return _png_of(Image.fromarray(_pixels(source)))
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
            raise ValueError(_("its numbers are not in 0..255"))
        return pixels.astype(np.uint8)
    return pixels


def _wav_of(source: Any) -> bytes | None:
    """Return a WAV of (samples, rate), or (rate, samples) as scipy reads it."""
    if not (isinstance(source, tuple) and len(source) == 2):
        return None
    import numpy as np

    rate, samples = source if np.ndim(source[0]) == 0 else (source[1], source[0])
    samples = _sixteen_bits(np.asarray(samples))
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        samples = samples.T
    if samples.ndim not in (1, 2):
        raise ValueError(_("the samples have {count} dimensions", count=samples.ndim))
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
        raise ValueError(_("the samples are {dtype}, not 16-bit integers or floats of -1..1", dtype=str(samples.dtype)))
    return samples.astype("<i2")


def _with_type(data: bytes, kind: str, stated: str = "", name: str = "") -> Media:
    return Media(mime_of(data) or (stated if stated.startswith(kind) else f"{kind}/unknown"), data, name=name)


def _checked(media: Media, kind: str) -> Media:
    """Return `media` if its bytes are of the right kind."""
    if media.url:
        return media
    if not media.data:
        message = _("The image is empty.") if kind == "image" else _("The audio is empty.")
        raise CommandError(message, _("Record or load it first."))
    if not media.mime.startswith(kind) or media.mime.endswith("/unknown"):
        message = (
            _("This is not {kind}: its format is unknown.", kind=_KINDS[kind])
            if media.mime.endswith("/unknown")
            else _("This is not {kind}: it is {mime}.", kind=_KINDS[kind], mime=media.mime)
        )
        raise CommandError(message, _FORMATS[kind])
    return media


_FORMATS = {
    "image": _("Supported formats: PNG, JPEG, GIF, WebP, BMP."),
    "audio": _("Supported formats: WAV, MP3, M4A, FLAC, OGG, AAC, WebM."),
}
