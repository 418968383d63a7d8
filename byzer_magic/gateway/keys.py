"""The keys of the endpoint: made here, stored as hashes in a file of the user's own, and looked up for each request."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from byzer_magic import config
from byzer_magic.errors import CommandError, ConfigError, suggest
from byzer_magic.files import private
from byzer_magic.i18n import lazy_gettext as _

PREFIX = "sk-byzer"
"""How keys begin: in the shape of a key, so that logs and errors hide it."""
DAY = 86400.0
MOST = 10_000
"""Keys in one file."""
MOST_DAYS = 36_500
"""A hundred years; a key for longer is one without an end."""
_NAME = re.compile(r"[^\W_][\w.@-]{0,63}")
"""It is never one that the endpoint has for clients without a key of the file."""


class Key(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is stored of a key: all but the key."""

    name: str
    id: str
    """The part of the key that may be seen: it finds the entry."""
    digest: str
    """SHA-256 of the key, which has 256 random bits, so that no slower hash is needed."""
    created: float
    """As time.time()."""
    models: list[str] = []
    """The names of the models that it may use; none means all."""
    requests_per_minute: int = 0
    """0 is no limit."""
    tokens_per_minute: int = 0
    expires: float | None = None
    """As time.time()."""
    metrics: bool = False
    """Whether it may see how much all keys use."""

    def is_valid(self, now: float) -> bool:
        """Return whether it has not expired."""
        return self.expires is None or now < self.expires


class _File(msgspec.Struct):
    keys: list[Key] = []


def digest_of(key: str) -> str:
    """Return the hash under which a key is stored."""
    return hashlib.sha256(key.encode()).hexdigest()


def default_path() -> Path:
    """Return the path of the user's keys, beside the settings, whether it exists or not."""
    return config.config_file().with_name("keys.json")


class KeyFile:
    """The keys in a file that only its user can read.

    Args:
        path: the file, which need not exist.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()
        self._by_id: dict[str, Key] = {}
        self._stamp: tuple[int, int, int] | None = None
        self._problem: ConfigError | None = None
        """Why the file, as it is now, cannot be read."""

    # ---- looking up

    def find(self, key_id: str) -> Key | None:
        """Return the key with this id, or None; changes of the file count at once.

        Raises:
            ConfigError: the file cannot be read.
        """
        self._refresh()
        return self._by_id.get(key_id)

    @property
    def exists(self) -> bool:
        """Return whether there is a file of keys: also one without any, or one that cannot be read."""
        try:
            os.lstat(self.path)  # every request asks: pathlib takes five times as long
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def _refresh(self) -> None:
        stamp = _stamp(self.path)
        if stamp != self._stamp:
            self._stamp, self._problem = stamp, None
            try:
                self._by_id = {key.id: key for key in self.read()}
            except ConfigError as err:
                self._problem = err
        if self._problem:
            raise self._problem

    def read(self) -> list[Key]:
        """Return all keys of the file.

        Raises:
            ConfigError: it is another user's, or others can write it, or it cannot be read.
        """
        try:
            content = private.read_own(self.path)
        except private.Exposed:
            raise ConfigError(
                _("{path} can be written by other users, who could add keys.", path=self.path),
                _(
                    "Check its keys (serve keys list), after: {command}",
                    command=f"chmod 600 {shlex.quote(str(self.path))}",
                ),
            ) from None
        if content is None:
            if self.path.is_symlink():
                raise ConfigError(
                    _("{path} is a link, which is not followed.", path=self.path), _("Put the file itself there.")
                )
            if self.path.is_dir():
                raise ConfigError(_("{path} is a folder, not a file of keys.", path=self.path), _("Move it away."))
            if self.path.exists():
                raise ConfigError(
                    _("{path} cannot be read, or belongs to another user.", path=self.path), _("Check its owner.")
                )
            return []
        try:
            return msgspec.json.decode(content or b"{}", type=_File).keys
        except msgspec.DecodeError as err:
            raise ConfigError(
                _("{path} is not a file of keys: {error}.", path=self.path, error=err),
                _("Restore it from a copy. Without one, move it away and make all keys anew: serve keys add NAME"),
            ) from None

    # ---- changing

    def add(
        self,
        name: str,
        *,
        models: Sequence[str] = (),
        requests_per_minute: int = 0,
        tokens_per_minute: int = 0,
        days: float | None = None,
        metrics: bool = False,
    ) -> str:
        """Make a key and store its hash; return the key, which nobody can read again.

        Args:
            name: whose key it is, or what for.
            models: the models that it may use; none means all.
            requests_per_minute: 0 is no limit.
            tokens_per_minute: 0 is no limit.
            days: after which it expires.
            metrics: whether it may see how much all keys use.

        Raises:
            CommandError: the name is taken, or is not one, or the days are no time.
            ConfigError: the file cannot be read or written.
        """
        if days is not None and not 0 < days <= MOST_DAYS:  # neither is NaN
            raise CommandError(
                _("--days is {value:g}, which is not above 0 and at most {most}.", value=days, most=MOST_DAYS),
                _("Leave it out for a key that does not expire."),
            )
        if not _NAME.fullmatch(name):
            raise CommandError(
                _("{name} cannot be the name of a key.", name=repr(name)),
                _("Begin with a letter or a digit; use letters, digits and . @ _ - only, 64 at most."),
            )
        key_id = secrets.token_hex(4)
        key = f"{PREFIX}-{key_id}-{secrets.token_urlsafe(32)}"
        now = time.time()
        with self._changed() as found:
            if any(known.name == name for known in found):
                raise CommandError(
                    _("There is a key with the name {name}.", name=name),
                    _("Choose another name, or revoke it first: serve keys revoke {name}", name=name),
                )
            if len(found) >= MOST:
                raise CommandError(
                    _("There are {count} keys, and there cannot be more.", count=MOST),
                    _("Revoke those that are not needed: serve keys list"),
                )
            expires = None if days is None else now + days * DAY
            limits = (requests_per_minute, tokens_per_minute)
            found.append(Key(name, key_id, digest_of(key), now, list(models), *limits, expires, metrics))
        return key

    def revoke(self, name: str) -> None:
        """Remove a key by its name.

        Raises:
            CommandError: there is none of this name.
        """
        with self._changed() as found:
            kept = [key for key in found if key.name != name]
            if len(kept) == len(found):
                raise CommandError(
                    _("There is no key with the name {name}.", name=repr(name)),
                    suggest(name, [key.name for key in found], _("See: serve keys list")),
                )
            found[:] = kept

    @contextlib.contextmanager
    def _changed(self) -> Iterator[list[Key]]:
        """Give the keys to a block that changes the list, and write it; one process at a time."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with private.open_own(self.path.with_suffix(".lock")) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                found = self.read()
                yield found
                private.replace_own(
                    self.path, msgspec.json.format(msgspec.json.encode(_File(found)), indent=2), durable=True
                )
        except OSError as err:
            raise ConfigError(
                _("{path} cannot be written: {reason}.", path=self.path, reason=err.strerror),
                _("Check its owner and its folder."),
            ) from err


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ctime_ns, status.st_ino, status.st_size  # it changes with the content, and with the mode
