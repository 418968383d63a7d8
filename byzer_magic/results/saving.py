"""Write results to files: a name keeps its promise, so that `speech.mp3` is an MP3."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

from byzer_magic.errors import CommandError
from byzer_magic.files import paths
from byzer_magic.i18n import lazy_gettext as _, localized
from byzer_magic.media import formats, wav


def write(path: str | Path, data: bytes) -> Path:
    """Write bytes; return the path.

    Raises:
        CommandError: the file cannot be written.
    """
    path = paths.expanded(path)
    try:
        path.write_bytes(data)
    except (OSError, ValueError) as err:  # ValueError: a NUL in the name
        reason = getattr(err, "strerror", None) or str(err)
        raise CommandError(
            _("Cannot write {path}: {reason}.", path=path, reason=reason),
            _("The result is still available; choose another path."),
        ) from err
    return path


def write_media(path: str | Path, data: bytes, mime: str) -> Path:
    """Write audio or an image; return the path.

    A name that stands for another format gets the extension of the bytes, with a warning; a name without an extension,
    or with one of no format, is kept. Raw samples become a WAV file, unless the name stands for them or for no format.

    Args:
        path: where to write it.
        data: the file.
        mime: its media type, where the bytes do not tell.

    Raises:
        CommandError: the file cannot be written.
    """
    path = paths.expanded(path)
    named = formats.mime_of_name(path)
    if named and named not in formats.HEADERLESS:
        data, mime = wav.playable(data, mime)
    found = formats.mime_of(data) or ""
    if named in (None, found) or not formats.is_known(found):
        return write(path, data)
    own = _free(path.with_suffix(f".{formats.extension(found)}"), data)
    text = _("This is {format}, not {other}: it is saved as {path}.", format=formats.title(found),
             other=formats.title(named or ""), path=own)  # fmt: skip
    written = write(own, data)
    warnings.warn(str(localized(text)), stacklevel=3)
    return written


def _free(path: Path, data: bytes) -> Path:
    """Return a path that overwrites nothing: the user has not chosen this name."""
    names = itertools.chain([path], (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2)))
    return next(name for name in names if not name.exists() or _has(name, data))


def _has(path: Path, data: bytes) -> bool:
    """Return whether a file has these bytes."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False
