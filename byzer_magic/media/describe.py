"""Short descriptions of media: sizes, durations, names of files."""

from __future__ import annotations

import re
from pathlib import PurePath

from byzer_magic.media import formats

NAME_CHARACTERS = 40


def size(count: int) -> str:
    """Return a number of bytes for display.

    Example:
        >>> size(2_500_000), size(1001)
        ('2.5 MB', '2 kB')
    """
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{-(-count // 1000)} kB"


def clock(seconds: float) -> str:
    """Return a position in audio, in seconds, for display.

    Example:
        >>> clock(7.9), clock(3723)
        ('0:07', '1:02:03')
    """
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def file_name(model: str, text: str, mime: str) -> str:
    """Return a file name for what a model generated from a text.

    Example:
        >>> file_name("voice", "Hello, world!", "audio/mpeg")
        'voice-Hello-world.mp3'
    """
    words = "-".join(re.findall(r"\w+", text))[:NAME_CHARACTERS].strip("-")
    stem = "-".join(filter(None, (re.sub(r"[^\w.-]+", "-", model), words))) or "file"
    return f"{stem}.{_extension(mime)}"


def fitting_name(name: str, mime: str) -> str:
    """Return a file name whose extension fits the media type; one that stands for another format is replaced.

    Example:
        >>> fitting_name("talk.mp3", "audio/wav"), fitting_name("talk.opus", "audio/ogg")
        ('talk.wav', 'talk.opus')
    """
    stands_for = formats.mime_of_name(name)
    if stands_for is None or stands_for == formats.canonical(mime) or not formats.is_known(mime):
        return name
    return str(PurePath(name).with_suffix(f".{_extension(mime)}"))


def _extension(mime: str) -> str:
    """Return the extension of the file as it is played and downloaded: raw samples become WAV."""
    if formats.canonical(mime) in formats.HEADERLESS:
        return "wav"
    return formats.extension(mime) if formats.is_known(mime) else "bin"
