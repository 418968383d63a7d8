"""Look-ups of tasks: those that come at the same moment are one query, since most of one is its beginning and end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from byzer_magic.errors import JournalError
from byzer_magic.journal.entry import Entry

Found = dict[str, Entry]
"""The answers of keys, of those that have one."""


class LookUps:
    """The look-ups in one journal.

    Args:
        look: looks for several keys, and raises a JournalError where that is not possible.

    Example:
        >>> asked = []
        >>> ups = LookUps(lambda keys: asked.append([*keys]) or {})
        >>> async def both():
        ...     return await asyncio.gather(ups.look(["a"]), ups.look(["b", "c"]))
        >>> asyncio.run(both()), asked
        ([{}, {}], [['a', 'b', 'c']])
    """

    def __init__(self, look: Callable[[Sequence[str]], Found]) -> None:
        self._look = look
        self._waiting: dict[asyncio.AbstractEventLoop, list[tuple[Sequence[str], asyncio.Future[Found]]]] = {}

    def look(self, keys: Sequence[str]) -> asyncio.Future[Found]:
        """Return what will have the answers of keys when the tasks that run now have said what they look for."""
        loop = asyncio.get_running_loop()
        if loop not in self._waiting:
            self._waiting[loop] = []
            loop.call_soon(self._together, loop)
        done: asyncio.Future[Found] = loop.create_future()
        self._waiting[loop].append((keys, done))
        return done

    def _together(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting = [(keys, done) for keys, done in self._waiting.pop(loop) if not done.done()]  # others gave up
        try:
            found = self._look([key for keys, _done in waiting for key in keys])
        except JournalError as err:
            for _keys, done in waiting:
                done.set_exception(err)
        else:
            for keys, done in waiting:
                done.set_result({key: found[key] for key in keys if key in found})
