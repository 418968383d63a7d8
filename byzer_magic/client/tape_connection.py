"""A connection to a tape in place of a cluster: what was recorded answers, and nothing else is there.

It has the seams of `Connection`: a link to each alias, and one to the controller. So nothing above it knows the
difference: no key, no network and no Ray are needed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from byzer_magic import errors
from byzer_magic.capabilities import Capability
from byzer_magic.client import journaling
from byzer_magic.client.connection import Connection, Say
from byzer_magic.commands.aliases import readings
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.journal import hiding, keys, misses
from byzer_magic.journal.entry import COMPLETE, Entry, Piece
from byzer_magic.journal.recordings import Recordings
from byzer_magic.stat import ModelStat
from byzer_magic.types import Request

if TYPE_CHECKING:
    from byzer_magic.config import Settings
    from byzer_magic.runtime.transport.messages import ModelIdentity

_REFINED = {Capability.VISION.value, Capability.TOOLS.value}
"""What a chat on a tape may do besides: whether it did is decided by the request."""


AT_ONCE = 64
"""Requests to one alias that a program may make at once, as it sees in `stat`."""


class TapeConnection(Connection):
    """Answers with what a tape has.

    Args:
        tape: its recordings.
        speed: how many times as fast as they were recorded; 0: at once.
    """

    def __init__(self, tape: Recordings, speed: float) -> None:
        super().__init__()
        self.tape = tape
        self.speed = speed
        self._tape_links: dict[str, TapeLink] = {}
        self._controller: Any = TapeController(tape)

    def __reduce__(self) -> tuple[Any, ...]:
        return Connection, ()  # the settings that go with it name the tape

    @property
    def connected(self) -> bool:
        return True

    def settings_elsewhere(self, settings: Settings) -> Settings:
        return replace(settings, replay=str(self.tape.path.resolve()), replay_speed=self.speed)

    def connect(self, address: str, settings: Settings, say: Say) -> str:
        return str(self.tape.path)

    def ensure(self, address: str, settings: Settings, say: Say) -> None:
        """Nothing has to be connected."""

    def reach(self, alias: str, address: str, settings: Settings, say: Say) -> None:
        """Whether the tape has it shows when it is asked."""

    def shutdown(self, say: Say) -> bool:
        return False

    def is_alive(self) -> bool:
        return True

    def control(self) -> Any:
        return self._controller

    async def names(self) -> list[str]:
        return self.tape.aliases

    async def named(self, name: str) -> tuple[str, str]:
        return next((found for found in readings(name) if self.tape.methods(found[0])), (name, ""))

    async def link(self, alias: str) -> Any:
        return self._tape_links.setdefault(alias, TapeLink(self.tape, alias, self.speed))

    async def open_link(self, alias: str) -> Any:
        return await self.link(alias)

    async def capabilities(self, alias: str) -> frozenset[Capability]:
        """Return what was used of an alias.

        Raises:
            JournalError: it was never asked.
        """
        if not self.tape.methods(alias):
            raise misses.unknown_alias(self.tape, alias)
        return await super().capabilities(alias)

    def has(self, alias: str, request: Request) -> bool:
        """Return whether the tape has a complete answer to a request that is made now."""
        canonical = keys.canonical(request)
        sample = journaling.sample_of(alias, request, canonical, count=False)
        return bool(self.tape.has([keys.key_of(f"alias {alias}", canonical, sample)]))

    def learnt(self, alias: str) -> set[str]:
        """Return nothing: what was refused then is on the tape, too."""
        return set()

    async def identity(self, alias: str, since: float | None = None) -> ModelIdentity | None:
        return None


class TapeController:
    """Says what the controller of a cluster without deployments says."""

    connected = True

    def __init__(self, tape: Recordings) -> None:
        self._tape = tape

    async def call(self, method: str, *_request: Any) -> Any:
        """Return what a method of the controller returns.

        Raises:
            CommandError: there is nothing to return.
        """
        from byzer_magic.runtime.transport import messages

        answers: dict[str, Any] = {
            "aliases": self._tape.aliases, "fleet": messages.FleetView([], ""), "serving": [], "remove": 0,
        }  # fmt: skip
        if method not in answers:
            raise impossible(self._tape)
        return answers[method]

    async def stream(self, _method: str, *_request: Any) -> AsyncIterator[Any]:
        """Yield nothing: nothing is deployed or changed."""
        if self.connected:
            return
        yield


def impossible(tape: Recordings) -> errors.CommandError:
    """Return the error for what only a cluster can do."""
    return errors.CommandError(
        _("This needs deployments, and {path} is replayed in their place.", path=tape.path.name),
        _("End that: %byzer replay off; in a shell, unset BYZER_REPLAY."),
    )


class TapeLink:
    """Answers requests to one alias.

    Args:
        tape: the recordings.
        alias: what is asked.
        speed: see `TapeConnection`.
    """

    connected = True

    def __init__(self, tape: Recordings, alias: str, speed: float) -> None:
        self._tape = tape
        self._alias = alias
        self._speed = speed

    async def call(self, method: str, *_request: Any) -> Any:
        """Return what the tape shows about the deployment.

        Raises:
            CommandError: that is not on it.
        """
        if method == "keep":  # an answer that goes on in the background comes from the tape, too
            return None
        if method != "stat":
            raise impossible(self._tape)
        methods = self._tape.methods(self._alias)
        can = methods | (_REFINED if Capability.CHAT.value in methods else set())
        return ModelStat(
            model=self._alias, kind="", strategy="", capabilities=sorted(can), workers=[], concurrency=AT_ONCE
        )

    async def stream(self, method: str, *request: Any) -> AsyncIterator[Any]:
        """Yield a recorded response, at its pace; nothing of what only a deployment has, such as its log.

        Raises:
            JournalError: the tape does not have it; the nearest recording is named.
            ByzerError: the response had failed, with this error.
        """
        if method not in {*Capability}:
            return
        entry = self._recorded(method, request[0])
        yield journaling.from_journal(entry, replayed=True)
        if (worker := journaling.dispatched(entry)) is not None:
            yield worker
        async for item in paced(entry.pieces, self._speed, entry.queued):
            yield item
        if entry.error:
            raise errors.from_wire(entry.error)
        if entry.status != COMPLETE:
            raise errors.JournalError(
                _("The recording of this answer ends here: it was interrupted."),
                _("Run the cell to its end when you record it again."),
            )

    def _recorded(self, method: str, request: Request) -> Entry:
        """Return the recording of a request."""
        canonical = keys.canonical(request)
        sample = journaling.sample_of(self._alias, request, canonical)
        asked = keys.key_of(f"alias {self._alias}", canonical, sample)
        if (found := self._tape.find(asked)) is not None:
            return found
        if not self._tape.methods(self._alias):
            raise misses.unknown_alias(self._tape, self._alias)
        missed = Entry(
            key="", asked=asked, sample=sample, at=0.0, alias=self._alias, method=method, request=canonical.decode(),
            prompt=keys.prompt_of(request),
        )  # fmt: skip
        raise misses.unknown_request(self._tape, hiding.hidden(missed, hiding.of_environment()))


async def paced(
    pieces: Iterable[Piece],
    speed: float,
    queued: float = 0.0,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> AsyncIterator[Any]:
    """Yield the items of a response when they had arrived.

    Args:
        pieces: with the seconds since the request was sent.
        speed: how many times as fast; 0: at once.
        queued: seconds in which the request waited for a free slot, which are left out.
        clock: the seconds now.
        sleep: waits for some seconds.
    """
    began = clock()
    for seconds, item in pieces:
        if speed and (early := max(0.0, seconds - queued) / speed - (clock() - began)) > 0:
            await sleep(early)
        yield item
