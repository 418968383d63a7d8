"""Media types: told from the bytes, then from what a response's header says, then from what was requested.

The table of `FORMATS` has the names, `mime_of` reads the bytes. We looked at two packages: puremagic 1.30 recognizes no
MP3 without a tag and calls M4A video/mp4; filetype 1.2 (of 2022) knows neither RF64 nor AU nor pages of text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.media import signatures
from byzer_magic.types import Localizable


@dataclass(frozen=True, slots=True)
class Format:
    """A format of files."""

    mime: str
    title: str
    """Its name among users."""
    extensions: tuple[str, ...]
    """Of file names; the first is the usual one."""
    aliases: tuple[str, ...] = ()
    """Other names of the media type."""


FORMATS = (
    Format("audio/wav", "WAV", ("wav", "wave", "bwf", "rf64"), ("audio/x-wav", "audio/wave", "audio/vnd.wave")),
    Format("audio/mpeg", "MP3", ("mp3", "mpga", "mp2"), ("audio/mp3", "audio/x-mp3", "audio/x-mpeg", "audio/mpeg3")),
    Format("audio/mp4", "M4A", ("m4a", "mp4", "m4b", "m4r", "mov", "3gp"),
           ("audio/x-m4a", "audio/m4a", "video/mp4", "video/quicktime", "audio/3gpp", "video/3gpp")),
    Format("audio/flac", "FLAC", ("flac",), ("audio/x-flac",)),
    Format("audio/ogg", "OGG", ("ogg", "opus", "oga", "spx"), ("audio/opus", "audio/vorbis", "application/ogg")),
    Format("audio/aac", "AAC", ("aac", "adts"), ("audio/x-aac", "audio/aacp")),
    Format("audio/webm", "WebM", ("webm", "weba", "mka", "mkv"),
           ("video/webm", "audio/x-matroska", "video/x-matroska")),
    Format("audio/aiff", "AIFF", ("aiff", "aif", "aifc"), ("audio/x-aiff",)),
    Format("audio/x-au", "AU", ("au", "snd"), ("audio/au",)),
    Format("audio/amr", "AMR", ("amr", "awb"), ("audio/amr-wb",)),
    Format("audio/x-ms-wma", "WMA", ("wma", "asf", "wmv"), ("video/x-ms-asf", "video/x-ms-wmv")),
    Format("audio/x-caf", "CAF", ("caf",)),
    Format("audio/x-w64", "W64", ("w64",)),
    Format("audio/x-wavpack", "WavPack", ("wv",)),
    Format("audio/ac3", "AC-3", ("ac3", "eac3", "ec3"), ("audio/eac3", "audio/x-ac3", "audio/vnd.dolby.dd-raw")),
    Format("audio/pcm", "PCM", ("pcm", "raw", "s16"), ("audio/l16", "audio/x-pcm", "audio/raw", "audio/x-raw")),
    Format("audio/basic", "mu-law", ("ulaw", "mulaw"), ("audio/pcmu", "audio/x-mulaw")),
    Format("audio/x-alaw", "A-law", ("alaw",), ("audio/pcma", "audio/x-alaw-basic")),
    Format("image/png", "PNG", ("png",), ("image/x-png", "image/apng")),
    Format("image/jpeg", "JPEG", ("jpg", "jpeg", "jpe", "jfif"), ("image/jpg", "image/pjpeg")),
    Format("image/gif", "GIF", ("gif",)),
    Format("image/webp", "WebP", ("webp",)),
    Format("image/avif", "AVIF", ("avif",)),
    Format("image/heic", "HEIC", ("heic", "heif"), ("image/heif",)),
    Format("image/jxl", "JPEG XL", ("jxl",)),
    Format("image/jp2", "JPEG 2000", ("jp2",)),
    Format("image/bmp", "BMP", ("bmp", "dib"), ("image/x-bmp", "image/x-ms-bmp")),
    Format("image/tiff", "TIFF", ("tiff", "tif")),
    Format("image/svg+xml", "SVG", ("svg",), ("image/svg",)),
    Format("image/x-icon", "ICO", ("ico",), ("image/vnd.microsoft.icon",)),
)  # fmt: skip
HEADERLESS = ("audio/pcm", "audio/basic", "audio/x-alaw")
"""Formats whose files are the samples alone: nothing in their bytes tells what they are."""
OTHERS = {
    "text/html": _("an HTML page"),
    "application/json": _("JSON"),
    "application/xml": _("XML"),
    "text/plain": _("text"),
    "application/pdf": _("a PDF document"),
    "application/zip": _("a ZIP archive"),
    "application/gzip": _("a gzip archive"),
    "video/x-msvideo": _("an AVI video"),
    "application/x-midi": _("a MIDI file, which contains notes and no sound"),
}
"""What is often handed over in place of media, in words."""
TEXTS = ("text/html", "text/plain", "application/json", "application/xml")

_BY_MIME = {name: item for item in FORMATS for name in (item.mime, *item.aliases)}
_BY_EXTENSION = {name: item for item in FORMATS for name in item.extensions}
TEXT_BYTES = 16
"""Fewer bytes that could be text may be anything."""
_VAGUE = ("", "audio", "image", "application/octet-stream", "binary/octet-stream", "application/binary")


def mime_of(data: bytes) -> str | None:
    r"""Return the media type of a file by its bytes, or None if they are unknown.

    Example:
        >>> mime_of(b"\x89PNG\r\n"), mime_of(b"<html>"), mime_of(b"\x07\x08\x09")
        ('image/png', 'text/html', None)
    """
    return signatures.find(data)


def canonical(mime: str) -> str:
    """Return a media type by its usual name, without parameters.

    Example:
        >>> canonical("Audio/X-WAV; codecs=1"), canonical("audio/odd")
        ('audio/wav', 'audio/odd')
    """
    plain = mime.partition(";")[0].strip().lower()
    found = _BY_MIME.get(plain)
    return found.mime if found else plain


def typed(data: bytes, kind: str, *stated: str) -> str:
    """Return the media type of data: by its bytes, else the first of those stated that says something.

    Args:
        data: the file, or its first bytes.
        kind: `audio` or `image`; other types are not believed.
        stated: the type that the response's header has, then the one requested.

    Returns:
        The type by its usual name; empty when nothing is known, or the bytes are of another kind. Only raw samples keep
        parameters such as `;rate=16000`.

    Example:
        >>> typed(b"fLaC....", "audio", "audio/mpeg"), typed(b"....", "audio", "", "audio/x-wav")
        ('audio/flac', 'audio/wav')
    """
    known = [item.strip().lower() for item in stated if canonical(item) not in _VAGUE]
    raw = [item for item in known if canonical(item) in HEADERLESS]
    found = signatures.find(data, sure=bool(raw)) or ""  # a sample may look like the start of an MP3
    if found.startswith(f"{kind}/"):
        return found
    if found and (found != "text/plain" or len(data) >= TEXT_BYTES):
        return ""  # whatever is stated: this is something else
    if raw:
        # No header in the bytes: they are samples. A header's name of them is often wrong (Azure's PCM is audio/basic).
        same = [item for item in raw if canonical(item) == canonical(raw[-1])]
        best = next((item for item in reversed(same) if ";" in item), same[-1])
        return best.replace(best.partition(";")[0], canonical(best), 1)
    return next((canonical(item) for item in known if canonical(item).startswith(f"{kind}/")), "")


def is_known(mime: str) -> bool:
    """Return whether this is the media type of one of the `FORMATS`.

    Example:
        >>> is_known("audio/x-wav"), is_known("audio/odd")
        (True, False)
    """
    return canonical(mime) in _BY_MIME


def parameter(mime: str, name: str) -> int | None:
    """Return a parameter of a media type that is a positive number.

    Example:
        >>> parameter("audio/pcm; Rate=16000", "rate"), parameter("audio/pcm", "rate")
        (16000, None)
    """
    for part in mime.split(";")[1:]:
        key, _equals, value = part.partition("=")
        if key.strip().lower() == name and value.strip().isdecimal():
            return int(value) or None
    return None


def extension(mime: str) -> str:
    """Return the usual file name extension of a media type, without a dot.

    Example:
        >>> extension("audio/mpeg"), extension("image/png"), extension("audio/x-odd")
        ('mp3', 'png', 'x-odd')
    """
    found = _BY_MIME.get(canonical(mime))
    return found.extensions[0] if found else canonical(mime).rpartition("/")[2] or "bin"


def mime_of_name(name: str | PurePath) -> str | None:
    """Return the media type that a file name's extension stands for; None where it stands for none.

    Example:
        >>> mime_of_name("talk.WAV"), mime_of_name("talk")
        ('audio/wav', None)
    """
    found = _BY_EXTENSION.get(PurePath(name).suffix.lower().lstrip("."))
    return found.mime if found else None


def title(mime: str) -> str:
    """Return a format's name among users.

    Example:
        >>> title("audio/mpeg"), title("audio/odd")
        ('MP3', 'audio/odd')
    """
    found = _BY_MIME.get(canonical(mime))
    return found.title if found else canonical(mime)


def described(mime: str) -> Localizable:
    """Return what a file of this type is, in words.

    Example:
        >>> str(described("text/html")), str(described("image/jpeg"))
        ('an HTML page', 'an image (JPEG)')
    """
    if mime in OTHERS:
        return OTHERS[mime]
    template = {
        "image": _("an image ({format})", format=title(mime)),
        "audio": _("audio ({format})", format=title(mime)),
    }
    return template.get(mime.partition("/")[0], title(mime))


def titles(kind: str) -> Iterator[str]:
    """Yield the names of the formats of a kind that models commonly take."""
    common = {
        "audio": ("wav", "mp3", "m4a", "flac", "ogg", "aac", "webm"),
        "image": ("png", "jpg", "gif", "webp", "bmp"),
    }
    return (_BY_EXTENSION[name].title for name in common[kind])
