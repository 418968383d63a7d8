"""The conversations that all faces of a deployment share, within bounds. Pure.

A conversation has a version, which each change replaces. Whoever changes one says which version it has seen; where
another face was faster, it gets the present one, so that no turn is lost. A conversation that was removed stays for a
while without messages: a face that still has it learns that it was removed.
"""

from __future__ import annotations

import itertools
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from byzer_magic import errors
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.results import turns
from byzer_magic.runtime.transport import protocol
from byzer_magic.runtime.transport.messages import PutSession, SessionInfo, SessionState
from byzer_magic.types import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is kept; what was used longest ago goes first."""

    session_bytes: int = 8 * 1024 * 1024
    total_bytes: int = 64 * 1024 * 1024
    sessions: int = 200


@dataclass(frozen=True, slots=True)
class _Stored:
    version: str
    messages: list[Message]
    sizes: list[int]
    changed: float

    @property
    def size(self) -> int:
        return sum(self.sizes)


class Sessions:
    """The conversations of one pool, least recently used first.

    Args:
        bounds: how much is kept.
    """

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._stored: OrderedDict[str, _Stored] = OrderedDict()
        self._versions = itertools.count(1)
        self._mine = secrets.token_hex(4)
        """Sets the versions of this pool apart from those of another one with the same alias."""

    def get(self, name: str, version: str = "") -> SessionState:
        """Return a conversation, without its messages where the client has this version already."""
        found = self._stored.get(name)
        if found is None:
            return SessionState("")
        self._stored.move_to_end(name)
        return SessionState(found.version, [] if found.version == version else list(found.messages))

    def put(self, request: PutSession, now: float) -> SessionState:
        """Change a conversation if it has the version that the client has seen; else return the present one.

        Raises:
            RequestError: it would be larger than what is kept.
        """
        found = self._stored.get(request.name)
        version = found.version if found else ""
        if request.version not in (None, version):
            return self.get(request.name)
        kept = found.messages[: request.keep] if found else []
        sizes = found.sizes[: request.keep] if found else []
        return self._store(request.name, kept, sizes, request.messages, now)

    def append(self, name: str, whole: Sequence[Message], turn: Sequence[Message], now: float) -> SessionState:
        """Add a turn to a conversation, whatever its version.

        Args:
            name: of the conversation.
            whole: what it is to be where there is none.
            turn: what is added where there is one.
            now: the time, in seconds.

        Raises:
            RequestError: it would be larger than what is kept.
        """
        found = self._stored.get(name)
        if found is None or not found.messages:
            return self._store(name, [], [], whole, now)
        return self._store(name, found.messages, found.sizes, turn, now)

    def _store(
        self, name: str, kept: list[Message], sizes: list[int], added: Sequence[Message], now: float
    ) -> SessionState:
        new = _Stored(
            f"{self._mine}-{next(self._versions)}", [*kept, *added],
            [*sizes, *(len(protocol.pack(message)) for message in added)], now,
        )  # fmt: skip
        if new.size > self._bounds.session_bytes:
            raise errors.RequestError(
                _(
                    "The session {name} has {size:.0f} MB, more than the {limit:.0f} MB that a deployment keeps.",
                    name=name,
                    size=new.size / 1e6,
                    limit=self._bounds.session_bytes / 1e6,
                ),
                _("Start it again with --reset, or use another name."),
            )
        self._stored[name] = new
        self._stored.move_to_end(name)
        while len(self._stored) > self._bounds.sessions or self._size > self._bounds.total_bytes:
            self._stored.popitem(last=False)
        return SessionState(new.version, taken=True)

    @property
    def _size(self) -> int:
        return sum(stored.size for stored in self._stored.values())

    def infos(self, now: float) -> list[SessionInfo]:
        """Return a line about each conversation that has messages, by name."""
        return [
            SessionInfo(
                name=name,
                turns=sum(message.role == "user" for message in stored.messages),
                last=turns.last_words(stored.messages),
                age=now - stored.changed,
            )
            for name, stored in sorted(self._stored.items())
            if stored.messages
        ]
