"""Short descriptions of media: sizes, durations, names of files."""

from __future__ import annotations

import re

EXTENSIONS = {
    "audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/wav": "wav", "audio/x-wav": "wav", "audio/pcm": "wav",
    "audio/ogg": "ogg", "audio/opus": "opus", "audio/flac": "flac", "audio/aac": "aac", "audio/mp4": "m4a",
    "audio/webm": "webm", "image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/webp": "webp",
    "image/bmp": "bmp", "image/svg+xml": "svg",
}  # fmt: skip
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
    return f"{stem}.{EXTENSIONS.get(mime.partition(';')[0].strip().lower(), 'bin')}"
