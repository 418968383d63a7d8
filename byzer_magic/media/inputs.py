"""Read images and audio from whatever users have: files, URLs, bytes, figures, arrays, widgets."""

from __future__ import annotations

import base64
import binascii
import io
import re
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from byzer_magic.errors import CommandError
from byzer_magic.files import paths
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.media import arrays, formats, wav
from byzer_magic.safety import urls
from byzer_magic.types import Localizable, Media

URL = re.compile(r"https?://", re.IGNORECASE)
LARGEST_BYTES = 512 * 1024 * 1024
"""A larger file is probably a mistake."""


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
    return _checked(_media(source, "image", arrays.png_of), "image", _name_of(source))


def audio(source: Any) -> Media:
    """Return audio as `Media`; a URL is downloaded, since no provider takes one.

    Args:
        source: a path, a URL, a data: URL, bytes, an open file, an audio widget, or a pair (samples, rate): samples
            of shape (frames,) or (frames, channels) with integers or floats of -1..1, and the rate in Hz.

    Raises:
        CommandError: it is not audio, or cannot be read.

    Example:
        >>> audio(b"fLaC...").mime
        'audio/flac'
    """
    found = _media(source, "audio", arrays.wav_of)
    return _checked(_downloaded(found.url) if found.url and not found.data else found, "audio", _name_of(source))


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
    name, hint = type(source).__name__, _OBJECT_HINTS[kind]
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
    from http.client import HTTPException  # with its parser of mail: the commands that download none need not wait
    from urllib.error import HTTPError

    shown, _mark, secret = url.partition("?")  # a signature may be in it
    try:
        with urls.opened(url, seconds=60) as response:
            data, stated = response.read(LARGEST_BYTES + 1), response.headers.get("Content-Type", "")
            truncated = bool(response.length) and len(data) <= LARGEST_BYTES
    except (OSError, ValueError, HTTPException) as err:
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
    return _with_type(data, "audio", stated)


_OBJECT_HINTS = {
    "image": _("Pass a path, a URL, bytes, or an object that contains an image."),
    "audio": _("Pass a path, a URL, bytes, or samples with their rate: (samples, 16000)."),
}
_KINDS = {"image": _("an image"), "audio": _("audio")}


def _read(source: str | Path, kind: str) -> bytes:
    try:
        path = paths.expanded(source)
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
        raise CommandError(
            _("Cannot read {path}: {reason}.", path=shown, reason=why), paths.near(text, _ANY_HINTS[kind])
        ) from None


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
    if isinstance(source, Mapping):  # an item of Hugging Face's datasets that has not been decoded
        source = source.get("bytes")
        return source if isinstance(source, bytes) else None
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


def _with_type(data: bytes, kind: str, stated: str = "", name: str = "") -> Media:
    return Media(formats.typed(data, kind, stated), wav.with_length(data), name=name)


def _name_of(source: Any) -> str:
    """Return the file name of what was given, where it has one."""
    if isinstance(source, Media):
        return Path(source.name).name
    if isinstance(source, str) and source[:5].lower() == "data:":
        return ""
    if isinstance(source, str) and URL.match(source):
        return Path(urls.split(source).path).name
    return Path(source).name if isinstance(source, str | Path) else ""


def _checked(media: Media, kind: str, name: str) -> Media:
    """Return `media`, with the type of its bytes, if they are of the right kind.

    Raises:
        CommandError: they are not.
    """
    if media.url and not media.data:
        return media
    if not media.data:
        message = _("The image is empty.") if kind == "image" else _("The audio is empty.")
        raise CommandError(message, _("Record or load it first."))
    mime = formats.typed(media.data, kind, media.mime)
    if not mime.startswith(f"{kind}/"):
        raise _not(kind, media.data, name)
    if reason := wav.fault(media.data):
        raise CommandError(reason, _("Record or load it first."))
    return media if mime == media.mime else msgspec.structs.replace(media, mime=mime)


def _not(kind: str, data: bytes, name: str) -> CommandError:
    """Return the error for something that is not an image, or not audio."""
    shown, found = name or _("This"), formats.mime_of(data)
    if found is None:
        message = _("{name} is not {kind}: its format is unknown.", name=shown, kind=_KINDS[kind])
        raw = kind == "audio" and formats.mime_of_name(name) in formats.HEADERLESS
        return CommandError(message, _("Pass raw samples as (samples, rate).") if raw else _supported(kind))
    message = _("{name} is {what}, not {kind}.", name=shown, what=formats.described(found), kind=_KINDS[kind])
    if name and found in formats.TEXTS:
        return CommandError(message, _("A download may have failed: look into the file with a text editor."))
    return CommandError(message, _supported(kind))


def _supported(kind: str) -> Localizable:
    return _("Supported formats: {formats}.", formats=", ".join(formats.titles(kind)))
