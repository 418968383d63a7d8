"""Write results to files: a name keeps its promise, so that `speech.mp3` is an MP3."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from pathlib import Path
from typing import Any

from byzer_magic.errors import CommandError
from byzer_magic.files import paths, writing
from byzer_magic.i18n import lazy_gettext as _, localized
from byzer_magic.media import formats, wav


def write(path: str | Path, data: bytes) -> Path:
    """Write bytes; return the path.

    Raises:
        CommandError: the file cannot be written.
    """
    path = paths.expanded(path)
    try:
        writing.write(path, data)
    except (OSError, ValueError) as err:  # ValueError: a NUL in the name
        raise _unwritable(path, err, _("The result is still available; choose another path.")) from err
    return path


def check(path: str | Path) -> None:
    """Check that a result can be written to a file, before it is asked and paid for.

    Raises:
        CommandError: it cannot.
    """
    path = paths.expanded(path)
    try:
        writing.check(path)
    except (OSError, ValueError) as err:
        raise _unwritable(path, err, _("Choose another path; nothing has been sent yet.")) from err


def _unwritable(path: Path, err: OSError | ValueError, hint: str) -> CommandError:
    reason = getattr(err, "strerror", None) or str(err)
    return CommandError(_("Cannot write {path}: {reason}.", path=path, reason=reason), hint)


def rescued(result: Any) -> Path | None:
    """Write a result that cannot be shown or written elsewhere into a new folder of one's own.

    Returns:
        The path; None where that fails, too, and for a text that is empty.
    """
    if getattr(result, "text", None) == "" and not getattr(result, "data", b""):
        return None
    media = next(iter(getattr(result, "pictures", [])), result)
    data, mime = getattr(media, "data", b""), getattr(media, "mime", "")
    ending = formats.extension(formats.mime_of(data) or mime) if data else "txt"
    try:
        saved: Path = result.save(Path(tempfile.mkdtemp(prefix="byzer-")) / f"result.{ending}")
    except (OSError, CommandError):
        return None
    return saved


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
