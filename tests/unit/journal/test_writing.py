"""The thread that writes entries: many in one transaction, and one word to each loop that waits."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from byzer_magic.errors import JournalError
from byzer_magic.journal.store import Store
from byzer_magic.types import ChatChunk
from tests.unit.journal.test_store import entry
from tests.waiting import PATIENCE

SECRET = "a-key-of-my-own"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store.open(tmp_path)
    yield found
    found.close()


@contextlib.contextmanager
def busy(store: Store) -> Iterator[None]:
    """Let nothing be committed during the block, so that what comes in it is one group, or two."""
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("COMMIT")


def test_loop_is_woken_once_for_many_entries(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def write() -> tuple[int, list[object]]:
        loop = asyncio.get_running_loop()
        woken: list[object] = []
        wake = loop.call_soon_threadsafe

        def counted(*call: Any) -> None:
            woken.append(call)
            wake(*call)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        with busy(store):
            waiting = [store.add_here(entry(str(number)), may_wait=True) for number in range(20)]
            waiting.append(store.add_here(entry("bad", sample=2**70)))
            waiting[3].cancel()
        found = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
        return len(woken), list(found)

    times, found = asyncio.run(write())
    assert times <= 2, "the first entry may have been alone"
    assert [number for number in found if isinstance(number, int)] == [*range(1, 4), *range(5, 21)]
    assert isinstance(found[3], asyncio.CancelledError)
    assert isinstance(found[-1], JournalError)
    assert store.count() == 20, "who leaves takes nothing with it"


def test_loop_that_has_ended_keeps_no_other_waiting(store: Store) -> None:
    async def leave() -> None:
        store.add_here(entry("left"))

    with busy(store):
        asyncio.run(leave())
        stays = store.add(entry("stays"))
    assert stays.result(PATIENCE)
    assert store.has(["left", "stays"]) == {"left", "stays"}


def test_secret_in_one_of_many_is_hidden_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    texts = ["one", f"it is {SECRET}", "three"]
    with busy(store):
        waiting = [store.add(entry(text, answer=text, pieces=[(0.1, ChatChunk(text))])) for text in texts]
    for done in waiting:
        done.result(PATIENCE)
    found = [found for found in store.walk() if found]
    assert [each.answer for each in found] == ["one", "it is ***", "three"]
    assert [each.pieces[0][1] for each in found] == [ChatChunk(text.replace(SECRET, "***")) for text in texts]
    assert SECRET not in store.search()[1].request
