"""The folder with this user's state on this machine: `byzer-UID` in Ray's temporary folder, readable by nobody else.

Several users share /tmp and even /tmp/ray, where everybody may put files and links. What is in a folder of one's own,
checked each time it is used, was put there by oneself. It is not in XDG_RUNTIME_DIR: a logout removes that one, which
the local Ray outlives, and a shell of `cron` or `sudo` does not have it and would look elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path

from byzer_magic.errors import CannotConnect
from byzer_magic.files import private
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.safety.peers import name_of

HINT = _("Set RAY_TMPDIR to a folder with a short path that you can write in, such as /tmp.")


VARIABLES = ("RAY_TMPDIR", "TMPDIR")


def base_folder() -> Path:
    """Return the folder for temporary files, chosen as Ray does: RAY_TMPDIR, else TMPDIR, else /tmp."""
    return Path(next(filter(None, map(os.environ.get, VARIABLES)), "/tmp")).absolute()  # noqa: S108 - Ray's own


def check_base() -> None:
    """Check that Ray can start in the folder that a variable names; what it says itself does not name the variable.

    Raises:
        CannotConnect: the path is relative or has other characters than ASCII, or is no folder.
    """
    variable = next(filter(os.environ.get, VARIABLES), "")
    if not variable:
        return
    value = os.environ[variable]
    if not value.startswith("/"):
        problem = _("{variable} is {value!r}, which is not an absolute path.", variable=variable, value=value)
    elif not value.isascii():
        problem = _(
            "{variable} is {value!r}, which has other characters than ASCII: Ray cannot start there.",
            variable=variable,
            value=value,
        )
    elif os.path.lexists(value) and not Path(value).is_dir():
        problem = _("{variable} is {value!r}, which is not a folder.", variable=variable, value=value)
    else:
        return
    raise CannotConnect(problem, HINT)


def ray_folder() -> Path:
    """Return the folder in which Ray itself puts sessions, and the file that names the cluster of this machine."""
    return base_folder() / "ray"


def find() -> Path | None:
    """Return this user's folder, or None where there is none yet."""
    return next(filter(private.is_private, _candidates()), None)


def own_folder() -> Path:
    """Return this user's folder, made if necessary, with mode 0700.

    Raises:
        CannotConnect: it cannot be made: the folder is not writable, the disk is full, or another user has taken it.
    """
    if found := find():
        return found
    failures = []
    for folder in _candidates():
        try:
            if folder.parent != ray_folder():  # that one is Ray's, and made by Ray
                folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
        except OSError as err:
            failures.append((folder, err))
        else:
            return folder
    folder, failure = failures[0]
    if isinstance(failure, FileExistsError):
        raise CannotConnect(
            _("{folder} is not a folder of yours: it belongs to {user}.", folder=folder, user=_owner(folder)), HINT
        ) from failure
    raise CannotConnect(
        _("{folder} cannot be created: {reason}.", folder=folder, reason=failure.strerror), HINT
    ) from failure


def _candidates() -> tuple[Path, Path]:
    """Return where the folder may be: the second where only Ray's folder is open to everyone."""
    name = f"byzer-{os.getuid()}"
    return base_folder() / name, ray_folder() / name


def _owner(folder: Path) -> str:
    try:
        return name_of(folder.lstat().st_uid)
    except OSError:
        return "?"
