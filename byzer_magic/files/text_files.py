"""Text files that users write: read in whatever encoding their editor has, without an exception of Python's own."""

from __future__ import annotations

import codecs
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from byzer_magic.files import paths
from byzer_magic.i18n import lazy_gettext as _

LARGEST_BYTES = 4 * 1024 * 1024
"""A larger file is not one that somebody has written."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LINE_ENCODINGS = ("utf-8", "gb18030", "latin-1")
"""Tried in this order, line by line: all have ASCII in common, so that at least that is read correctly."""
_NOT_TEXT = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a file."""

    text: str = ""
    problem: str = ""
    """Why it could not be read, a sentence that names the file: a lazy text; empty where it was read."""
    missing: bool = False
    """Whether there is no such file."""


def read(path: str | Path, *, pipe: bool = False) -> Content:
    """Return the text of a file.

    Args:
        path: the file; `~` is expanded.
        pipe: whether it may be one of this process's open files, such as /dev/stdin; reading waits for its writer.
    """
    try:
        path = paths.expanded(path)
        status = path.stat()
        if problem := _problem(path, status, pipe=pipe):
            return Content(problem=problem)
        with path.open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as err:
        return Content(problem=_("Cannot read {path}: {reason}.", path=path, reason=err.strerror), missing=True)
    except (OSError, ValueError, RuntimeError) as err:  # ValueError: a NUL in the path; RuntimeError: no such ~user
        reason = getattr(err, "strerror", None) or err
        return Content(problem=_("Cannot read {path}: {reason}.", path=path, reason=reason))
    if len(data) > LARGEST_BYTES:
        return Content(problem=_("{path} is larger than 4 MB.", path=path))
    text = decoded(data)
    if text is None:
        return Content(problem=_("{path} is not text in a known encoding; save it as UTF-8.", path=path))
    return Content(text)


def _problem(path: Path, status: os.stat_result, *, pipe: bool) -> str:
    """Return why a file is not to be opened, or an empty text."""
    if stat.S_ISDIR(status.st_mode):
        return _("{path} is a directory.", path=path)
    ends = stat.S_ISREG(status.st_mode) or status.st_rdev == Path(os.devnull).stat().st_rdev
    if not (ends or (pipe and _is_open(path))):  # opening it may block, and it may have no end
        return _("{path} is not a regular file.", path=path)
    return ""


def _is_open(path: Path) -> bool:
    """Return whether a path is one of this process's open files, such as /dev/stdin and what a shell has for <(...)."""
    return path.parent.resolve() == Path("/proc/self/fd").resolve() or str(path) == "/dev/stdin"


def decoded(data: bytes) -> str | None:
    r"""Return bytes as text, or None where they are no text.

    Example:
        >>> decoded("KEY=密钥".encode("gbk")), decoded("KEY=1\n".encode("utf-16-le")), decoded(b"\x7fELF\0")
        ('KEY=密钥', 'KEY=1\n', None)
    """
    text = _decoded(data)
    return None if text is None or _NOT_TEXT.search(text) else text


def marked(data: bytes) -> str | None:
    r"""Return the encoding whose mark text begins with, as Python calls it; None where there is no mark.

    Args:
        data: the first four bytes, or more.

    Example:
        >>> marked(b"\xef\xbb\xbfa"), marked(b"a")
        ('utf-8-sig', None)
    """
    return next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)


def _decoded(data: bytes) -> str | None:
    if (encoding := marked(data)) is not None:
        return _whole(data, encoding)
    if b"\0" in data:
        if data.count(b"\0") * 4 <= len(data):  # in UTF-16 without its mark, every second byte of ASCII is NUL
            return None
        found = [text for name in ("utf-16-le", "utf-16-be") if (text := _whole(data, name)) is not None]
        return max(found, key=lambda text: sum(map(str.isascii, text)), default=None)
    text = _whole(data, "utf-8")
    return text if text is not None else "\n".join(map(_line, data.split(b"\n")))


def _line(data: bytes) -> str:
    return next(text for name in _LINE_ENCODINGS if (text := _whole(data, name)) is not None)


def _whole(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None
