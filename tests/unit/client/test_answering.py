"""What a request leaves behind that is interrupted when all of its answer has arrived."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from byzer_magic.client import answering, spending
from byzer_magic.client.converse import Exchange
from byzer_magic.client.journaling import How, using
from byzer_magic.client.ledger import Ledger
from byzer_magic.client.manager import Manager
from byzer_magic.config import Settings
from byzer_magic.journal.entry import COMPLETE, INTERRUPTED, Entry
from byzer_magic.journal.store import Store
from byzer_magic.runtime.loop import in_waiting_thread
from byzer_magic.types import ChatChunk, ChatRequest, Dispatched, Request, Usage


class Interrupting:
    """Interrupts the thread that waits, as Ctrl-C does."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []

    def interrupt(self) -> None:
        self._tasks.append(asyncio.create_task(in_waiting_thread(_interrupt)))

    def end(self) -> None:
        for task in self._tasks:
            task.get_loop().call_soon_threadsafe(task.cancel)


def _interrupt() -> None:
    raise KeyboardInterrupt


class Slow(Interrupting):
    """A journal that does not come to an end with writing."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []

    def add_here(self, entry: Entry, _attached: Sequence[bytes] = (), *, may_wait: bool) -> asyncio.Future[int]:
        assert not may_wait
        self.entries.append(entry)
        if entry.status == COMPLETE:
            self.interrupt()
        return asyncio.get_running_loop().create_future()


class Deployed(Interrupting):
    """A manager of one deployment; `early` interrupts before its answer is complete."""

    def __init__(self, *, early: bool) -> None:
        super().__init__()
        self.settings = Settings()
        self._early = early

    @property
    def connection(self) -> Deployed:
        return self

    async def named(self, alias: str) -> tuple[str, str]:
        return alias, ""

    async def identity(self, _alias: str, _since: float | None = None) -> None:
        return None

    async def link(self, _alias: str) -> Deployed:
        return self

    async def stream(self, _method: str, _request: Request, _id: str) -> AsyncIterator[Any]:
        yield Dispatched(0, 0.0)
        yield ChatChunk("So.")
        if self._early:
            self.interrupt()
            await asyncio.Event().wait()
        yield ChatChunk("", finish="stop", usage=Usage(2, 1, 0.5, "USD"))

    def ask(self, alias: str, request: Request, /) -> AsyncIterator[Any]:
        return answering.answered(cast("Manager", self), alias, request)


@pytest.mark.parametrize("early", [True, False])
def test_answer_that_is_complete_is_not_interrupted_while_it_is_written_down(
    early: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, store, deployed = Ledger(), Slow(), Deployed(early=early)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(answering, "LEDGER", ledger)
    monkeypatch.setattr(spending, "WALLET", spending.Wallet())
    with using(How(store=cast("Store", store))):
        result = Exchange(deployed, "m", ChatRequest(messages=[])).wait()
    deployed.end()
    store.end()
    assert (str(result), result.interrupted) == ("So.", early)
    [used] = ledger.total.values()
    assert (used.interrupted, used.failed, used.cost) == (early, 0, 0.0 if early else 0.5)
    [entry] = store.entries
    assert entry.status == (INTERRUPTED if early else COMPLETE)
