"""The token that `ray start` writes for clusters with token authentication: used without being asked for, as by Ray."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from byzer_magic.errors import CannotConnect
from byzer_magic.files import paths
from byzer_magic.i18n import lazy_gettext as _

MODE = "RAY_AUTH_MODE"


def use_token() -> None:
    """Use the token that `ray start` has written: Ray itself does so for address="auto" only.

    Ray reads RAY_AUTH_MODE at import, so this is called before; where Ray is imported already, its configuration is
    initialized again, for which Ray has no public function.

    Raises:
        CannotConnect: the token's file cannot be read, or contains no token.
    """
    file = Path.home() / ".ray" / "auth_token"
    if not paths.exists(file):
        return
    if MODE not in os.environ or _is_read():
        _check(file)
    if MODE in os.environ:
        return
    os.environ[MODE] = "token"
    if "ray" in sys.modules:
        from ray._raylet import Config  # type: ignore[attr-defined]  # not in its stub

        Config.initialize("")


def keep_new_token_private() -> None:
    """Have Ray write a new token, which it does where there is none, into a file that only this user can read.

    What exists already keeps its mode. Ray has no option for it; a version without that function does its usual.
    """
    try:
        from ray._private.authentication import authentication_token_setup as setup

        generate = setup.generate_and_save_token
    except (ImportError, AttributeError):
        return

    def generate_privately() -> None:
        before = os.umask(0o077)
        try:
            generate()
        finally:
            os.umask(before)

    setup.generate_and_save_token = generate_privately


def _is_read() -> bool:
    """Return whether Ray is told to use a token, and none by another way than its usual file."""
    others = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    return os.environ.get(MODE, "").lower() == "token" and not any(os.environ.get(name) for name in others)


def _check(file: Path) -> None:
    """Check the file that Ray would read: what is no token ends its processes without a word on the file."""
    reason: object = ""
    try:
        if not file.is_file():
            reason = _("it is not a regular file")
        elif not file.read_bytes().decode("ascii").strip().isprintable():
            reason = _("it contains characters that no token has")
    except OSError as err:
        reason = err.strerror
    except UnicodeDecodeError:
        reason = _("it contains characters that no token has")
    if reason:
        raise CannotConnect(
            _("Ray cannot use the token in {path}: {reason}.", path=file, reason=reason),
            _("Copy the token of the cluster there. For a Ray on this machine alone, remove {path}.", path=file),
        )
