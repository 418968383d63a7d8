"""What requests need of a journal, which several processes share, wherever its file is."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future

from byzer_magic.journal.entry import Entry
from byzer_magic.journal.key_locks import Locks


class Answers(ABC):
    """Answers that are known: of a journal, or of a tape."""

    @abstractmethod
    def find(self, key: str, /) -> Entry | None:
        """Return the newest complete answer of a key; None where there is none, or it or its media are damaged or gone.

        Args:
            key: see `keys.key_of`.

        Raises:
            JournalError: they cannot be read.
        """

    @abstractmethod
    def has(self, keys: Sequence[str]) -> set[str]:
        """Return those of several keys that have a complete answer.

        Raises:
            JournalError: they cannot be read.
        """

    async def look(self, keys: Sequence[str]) -> dict[str, Entry]:
        """Return the newest complete answers of several keys, of those that have one.

        Raises:
            JournalError: they cannot be read.
        """
        return self.look_now(keys)

    def look_now(self, keys: Sequence[str]) -> dict[str, Entry]:
        """Return the newest complete answers of several keys, as `look`."""
        wanted = keys if len(keys) == 1 else self.has(keys)
        return {key: found for key in wanted if (found := self.find(key)) is not None}


class SharedJournal(Answers):
    """A journal whose file is on this machine (`store.Store`), or on another one (`borrowed.BorrowedStore`)."""

    locks: Locks
    """Of the keys that processes ask about at this moment."""

    @abstractmethod
    def add(self, entry: Entry, attached: Sequence[bytes] = ()) -> Future[int]:
        """Write an entry soon; the future has its id once it is committed, or a JournalError.

        Args:
            entry: as it came about; secrets in it are hidden before it is written.
            attached: the bytes of media in the request, which are kept beside the journal.
        """

    def add_here(self, entry: Entry, attached: Sequence[bytes] = (), *, may_wait: bool = False) -> asyncio.Future[int]:
        """Write an entry soon, as `add`; the future belongs to the running event loop.

        Args:
            entry: as it came about.
            attached: the bytes of media in the request.
            may_wait: whether it is not urgent, so that others which come soon are committed with it.
        """
        del may_wait  # it goes with what comes while others are on their way
        return asyncio.wrap_future(self.add(entry, attached))

    @abstractmethod
    def find(self, key: str, *, by: str = "key") -> Entry | None:
        """Return the newest complete answer of a key, as `Answers.find`.

        Args:
            key: a value of the column.
            by: ``key``, ``asked`` or ``request_id``.
        """
