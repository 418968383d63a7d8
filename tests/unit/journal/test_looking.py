"""Look-ups that come at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from byzer_magic.errors import JournalError
from byzer_magic.journal.entry import Entry
from byzer_magic.journal.looking import LookUps
from byzer_magic.journal.store import AT_ONCE, Store
from tests.unit.journal.test_store import entry, store
from tests.waiting import PATIENCE

assert store  # a fixture


def test_each_has_what_it_has_looked_for_and_who_leaves_takes_nothing_away() -> None:
    queries: list[list[str]] = []

    def look(keys: Sequence[str]) -> dict[str, Entry]:
        queries.append([*keys])
        return {key: entry(key) for key in keys if key != "none"}

    async def run() -> list[Any]:
        ups = LookUps(look)
        first = [asyncio.ensure_future(ups.look(keys)) for keys in (["a"], ["b"], ["none", "c"])]
        first[1].cancel()
        found = await asyncio.gather(*first, return_exceptions=True)
        return [*found, await ups.look(["a"])]

    a, left, c, again = asyncio.run(run())
    assert ([*a], [*c], [*again]) == (["a"], ["c"], ["a"])
    assert isinstance(left, asyncio.CancelledError)
    assert queries == [["a", "none", "c"], ["a"]]


def test_journal_that_cannot_be_read_is_an_error_of_each() -> None:
    def look(_keys: Sequence[str]) -> dict[str, Entry]:
        raise JournalError("torn")

    async def run() -> list[Any]:
        ups = LookUps(look)
        return await asyncio.gather(ups.look(["a"]), ups.look(["b"]), return_exceptions=True)

    assert [type(found) for found in asyncio.run(run())] == [JournalError] * 2


def test_newest_answers_of_many_keys(store: Store) -> None:
    keys = [str(number) for number in range(AT_ONCE + 100)]
    for done in [store.add(entry(key, answer=answer)) for answer in ("old", "new") for key in keys[::2]]:
        done.result(PATIENCE)
    with pytest.raises(KeyError):
        store.look_now(keys)["1"]
    found = asyncio.run(store.look(keys))
    assert {key: each.answer for key, each in found.items()} == dict.fromkeys(keys[::2], "new")
