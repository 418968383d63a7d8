"""Paths as users type them: expanding them, and saying why nothing is there and which path was probably meant."""

from __future__ import annotations

import os
import re
import unicodedata
import urllib.parse
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from byzer_magic.errors import suggest
from byzer_magic.i18n import join, lazy_gettext as _, listed

LISTED = 5
"""Names of a folder that a hint lists."""
_WINDOWS = re.compile(r"([A-Za-z]):[\\/]?(.*)|\\\\.*", re.DOTALL)
_URL = re.compile(r"(?:https?|s3|hf|oss|gs)://", re.IGNORECASE)
_AROUND = "'\"`\u2018\u2019\u201c\u201d \t\r\n\u00a0\u3000\u200b\u2060\ufeff"
"""Quotation marks, white space and invisible characters that come with a path when it is copied."""


def expanded(path: str | Path) -> Path:
    """Return a path with `~` expanded; that of a user who does not exist stays as it is.

    Example:
        >>> str(expanded("~no-such-user/x"))
        '~no-such-user/x'
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises RuntimeError for such a user


def working_folder() -> str:
    """Return the working directory; empty where it was removed."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def exists(path: Path) -> bool:
    """Return whether something is there; what cannot be looked at is not."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long a name, no permission, a NUL in it
        return False


def why_missing(path: str | Path, suffix: str = "") -> tuple[str, str]:
    """Return what is wrong with a path at which nothing is, and a hint that leads on: never the same path again.

    Args:
        path: as the user gives it.
        suffix: how the files end that may be meant, such as ``.gguf``.
    """
    return _known(expanded(path)) or (_("{path} does not exist.", path=expanded(path)), _hint(str(path), suffix, ""))


def near(path: str | Path, otherwise: str = "") -> str:
    """Return a hint for a path that is not what was asked for, beside a message that says that.

    Args:
        path: as the user gives it.
        otherwise: the hint when no path is similar; by default it has what is in the folder.
    """
    known = _known(expanded(path))
    return join(*known) if known else _hint(str(path), "", otherwise)


def is_odd(text: str) -> bool:
    """Return whether a text has what no path of this machine has, so that no path is to be made of it.

    Example:
        >>> is_odd("file:///models/x.gguf"), is_odd("'/models/x.gguf'"), is_odd("models/x.gguf")
        (True, True, False)
    """
    if exists(expanded(text)):
        return False
    bare = text.strip(_AROUND)
    strange = _URL.match(bare) or _WINDOWS.fullmatch(bare)
    return text != bare or bare.lower().startswith(("file:", "~")) or bool(strange)


def _known(path: Path) -> tuple[str, str] | None:
    return _link(path) or _file_as_folder(path) or _user(path) or _locked(path)


def _locked(path: Path) -> tuple[str, str] | None:
    try:
        path.stat()
    except PermissionError as err:
        return _("{path} cannot be read: {reason}.", path=path, reason=err.strerror), _("Check its permissions.")
    except (OSError, ValueError):
        return None
    return None


def _hint(text: str, suffix: str, otherwise: str) -> str:
    if meant := copied(text):
        return _("Did you mean {name}?", name=meant)
    bare = text.strip(_AROUND)
    if _URL.match(bare):
        return _("This is a URL; download the files, and give their path.")
    if _WINDOWS.fullmatch(bare):
        return _("This is a path of Windows; give the path on this machine.")
    return _near(expanded(text), suffix, otherwise)


def copied(text: str) -> Path | None:
    """Return the path that exists and that a text is, but for what came with it when it was copied.

    That is: quotation marks and white space around it, `file://`, backslashes before spaces, the drive of a path of
    Windows, which WSL has under /mnt.
    """
    for candidate in _candidates(text):
        path = expanded(candidate)
        if candidate and candidate != text and exists(path):
            return path
    return None


def _candidates(text: str) -> Iterator[str]:
    bare = text.strip(_AROUND)
    yield bare
    at = bare.lower().find("file:/")  # an absolute path may have been made of it
    if at >= 0:
        yield urllib.parse.unquote("/" + bare[at + 5 :].lstrip("/").removeprefix("localhost/"))
    yield re.sub(r"\\(.)", r"\1", bare)
    yield bare.rstrip("/\\.,;:")
    if (windows := _WINDOWS.fullmatch(bare)) and windows[1]:
        yield f"/mnt/{windows[1].lower()}/" + windows[2].replace("\\", "/")
    for form in ("NFC", "NFD"):  # macOS decomposes accents in names
        yield unicodedata.normalize(form, bare)


def _link(path: Path) -> tuple[str, str] | None:
    """Explain a link whose target is missing, be it the path itself or a folder in it."""
    for part in (path, *path.parents):
        with suppress(OSError, ValueError):
            if part.is_symlink() and not exists(part):
                target = part.readlink()
                message = _("{path} is a link to {target}, which does not exist.", path=part, target=target)
                in_cache = "blobs" in target.parts  # of a hub
                again = _("The download is not complete: download the model again.")
                return message, again if in_cache else _("Restore that file, or give another path.")
    return None


def _file_as_folder(path: Path) -> tuple[str, str] | None:
    for part in path.parents:
        with suppress(OSError, ValueError):
            if part.is_file():
                return _("{path} is a file, not a folder.", path=part), _("Give its own path: {path}", path=part)
    return None


def _user(path: Path) -> tuple[str, str] | None:
    if str(path).startswith("~"):
        name = path.parts[0].removeprefix("~") or "~"
        return _("There is no user {name} on this machine.", name=name), _("Write the path in full, from / on.")
    return None


def _near(path: Path, suffix: str, otherwise: str) -> str:
    """Return a hint with the nearest path that exists, or with what is there."""
    folder = next((item for item in path.parents if exists(item)), Path())
    try:
        names = sorted(item.name for item in folder.iterdir())
    except OSError as err:
        return otherwise or _("{path} cannot be read: {reason}.", path=folder, reason=err.strerror)
    if folder != path.parent:
        if otherwise:
            return otherwise if path.is_absolute() else suggest(path.name, names, otherwise)
        missing = path.relative_to(folder).parts[0]
        exists_only = _("The folder {folder} exists, but it has no {name}.", folder=folder, name=missing)
        similar = suggest(missing, [name for name in names if (folder / name).is_dir()], folder=folder)
        return join(exists_only, similar)
    return suggest(path.name, names, otherwise or _contents(folder, names, suffix), folder=folder)


def _contents(folder: Path, names: list[str], suffix: str) -> str:
    if not names:
        return _("The folder {folder} is empty.", folder=folder)
    shown = [name for name in names if name.endswith(suffix)]
    if not shown:
        return _("{folder} contains no {suffix} file.", folder=folder, suffix=suffix)
    return _("{folder} contains: {names}.", folder=folder, names=listed(shown[:LISTED]))
