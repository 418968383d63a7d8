"""The conversations of a face: a view of those that deployments hold, which other faces continue, too.

A session belongs to the deployment that is asked. What a face has of it beyond that (a turn with another model, or one
that could not be stored) is added after what others have added, so no turn is lost.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from byzer_magic.client.manager import Manager
from byzer_magic.errors import ByzerError, CommandError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.results import Result, turns
from byzer_magic.types import Message

if TYPE_CHECKING:
    from byzer_magic.runtime.transport.messages import SessionInfo, SessionState

SECONDS = 5.0
"""How long a deployment may take to return a session; without it, the face's own is continued."""
TRIES = 5
"""How often a turn is added after those of others before it is given up."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a deployment had when it was last asked."""

    version: str = ""
    messages: list[Message] = field(default_factory=list)


class Sessions(dict[str, list[Message]]):
    """The sessions of one face, by name.

    Example:
        >>> sessions = Sessions(tutor=[Message("user", "hi")])
        >>> list(sessions)
        ['tutor']
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seen: dict[tuple[str, str], Seen] = {}
        self.private: set[str] = set()
        """Names that nobody has chosen: others may have the same, and these stay here."""

    async def pull(self, manager: Manager, alias: str, name: str) -> None:
        """Take over what other faces have done with a session; without its deployment, it stays as it is here.

        Args:
            manager: connects to the deployment, which it can reach.
            alias: the deployment.
            name: of the session.
        """
        from byzer_magic.runtime.transport.messages import SessionRequest

        if name in self.private:
            return
        seen = self._seen.get((alias, name), Seen())
        try:
            found = await call(manager, alias, "session", SessionRequest(name, seen.version))
        except (ByzerError, TimeoutError):
            return
        if found.version not in ("", seen.version):
            self._take(alias, name, found)

    def _take(self, alias: str, name: str, found: SessionState) -> None:
        base = self._seen[alias, name].messages if (alias, name) in self._seen else None
        merged = together(base, found.messages, self.get(name, []))
        self._seen[alias, name] = Seen(found.version, found.messages)
        if merged:
            self[name] = merged
        else:
            self.pop(name, None)

    async def push(self, manager: Manager, alias: str, name: str) -> str:
        """Store a session in its deployment, for other faces.

        Args:
            manager: connects to the deployment.
            alias: the deployment.
            name: of the session.

        Returns:
            What the user should know, a lazy text; empty where it is stored as it is here.
        """
        if name in self.private:
            return ""
        try:
            return await self._pushed(manager, alias, name)
        except CommandError:  # a deployment that cannot
            return ""
        except (ByzerError, TimeoutError) as err:
            why = err.message if isinstance(err, ByzerError) else _("{alias} does not respond.", alias=alias)
            return _("The session {name} is not shared: {error}", name=name, error=why)

    async def _pushed(self, manager: Manager, alias: str, name: str) -> str:
        from byzer_magic.runtime.transport.messages import PutSession

        note = ""
        for _try in range(TRIES):
            seen, mine = self._seen.get((alias, name), Seen()), self.get(name, [])
            keep = shared(seen.messages, mine)
            found = await call(manager, alias, "put_session", PutSession(name, seen.version, keep, mine[keep:]))
            if found.taken:
                self._seen[alias, name] = Seen(found.version, list(mine))
                return note
            if not found.version:  # forgotten: the deployment is new, or had too many
                self._seen.pop((alias, name), None)
            else:
                note = _("The session {name} was continued elsewhere meanwhile; this turn comes after that.", name=name)
                self._take(alias, name, found)
        return _("The session {name} is not shared: {error}", name=name, error=_("others change it all the time"))

    async def remember(
        self, manager: Manager, alias: str, name: str, messages: Sequence[Message], result: Result
    ) -> str:
        """Add a turn to a session, and store it for other faces.

        Args:
            manager: connects to the deployment.
            alias: the deployment.
            name: of the session.
            messages: the request, which ends with the prompt.
            result: the response.

        Returns:
            What the user should know, a lazy text: why the turn is not kept, or not shared; mostly empty.
        """
        found = turns.kept(messages, result)
        if found is None:
            return turns.why_not(result)
        self[name] = found
        return await self.push(manager, alias, name)

    async def offered(self, manager: Manager, alias: str) -> list[str]:
        """Return the names of the sessions that a deployment has; none where it cannot be asked."""
        try:
            return [info.name for info in await listed_in(manager, alias)]
        except (ByzerError, TimeoutError):
            return []

    async def remove(self, manager: Manager, alias: str, name: str) -> None:
        """Remove a session here and in its deployment, where it is reached."""
        from byzer_magic.runtime.transport.messages import PutSession

        self.pop(name, None)
        if name in self.private:
            return
        try:
            found = await call(manager, alias, "put_session", PutSession(name, None, 0))
        except (ByzerError, TimeoutError):
            return
        self._seen[alias, name] = Seen(found.version)


def together(base: Sequence[Message] | None, theirs: Sequence[Message], mine: Sequence[Message]) -> list[Message]:
    """Return a conversation that two faces have continued: what is mine alone comes last.

    Args:
        base: what both had; None where that is not known.
        theirs: the conversation of others.
        mine: that of this face.

    Example:
        >>> a, b, c = (Message("user", text) for text in "abc")
        >>> [turn.content for turn in together([a], [a, b], [a, c])]
        ['a', 'b', 'c']
    """
    if list(mine[: len(theirs)]) == list(theirs) and (base is None or shared(base, theirs) == len(base)):
        return list(mine)
    base_system, base_turns = _parts(theirs if base is None else base)
    system, their_turns = _parts(theirs)
    my_system, my_turns = _parts(mine)
    added = my_turns[shared(base_turns, my_turns) :]
    return [*(my_system if my_system != base_system and my_system else system), *their_turns, *added]


def _parts(messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """Return a conversation's system prompt, if any, and its turns."""
    begin = 1 if messages and messages[0].role == "system" else 0
    return list(messages[:begin]), list(messages[begin:])


def shared(first: Sequence[Message], second: Sequence[Message]) -> int:
    """Return how many messages two conversations begin with together."""
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    return sum(1 for _pair in same)


async def listed_in(manager: Manager, alias: str) -> list[SessionInfo]:
    """Return a line about each session that a deployment has.

    Raises:
        ByzerError: it cannot be asked.
        TimeoutError: it does not respond.
    """
    link = await manager.connection.link((await manager.named(alias))[0])
    async with asyncio.timeout(SECONDS):
        return [info async for info in link.stream("sessions")]


async def call(manager: Manager, alias: str, method: str, body: Any) -> Any:
    """Return what a method of a deployment returns.

    Raises:
        ByzerError: it cannot be asked, or the method fails.
        TimeoutError: it does not respond.
    """
    async with asyncio.timeout(SECONDS):
        link = await manager.connection.link((await manager.named(alias))[0])
        return await link.call(method, body)
