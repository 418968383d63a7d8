"""Which answers the journal gives again: those of the model that is asked."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.client import journaling
from byzer_magic.client.journaling import How
from byzer_magic.config import Settings
from byzer_magic.journal import rows
from byzer_magic.journal.key_locks import KeyLocks
from byzer_magic.journal.store import Store
from byzer_magic.runtime.transport.messages import ModelIdentity
from byzer_magic.types import ChatChunk, ChatRequest, Dispatched, Media, Message

REQUEST = ChatRequest(messages=[Message("user", "Why?")], options={"temperature": 0})


class Updated:
    """A deployment that is updated while it is asked; what it is, is known from a moment ago."""

    settings = Settings()

    def __init__(self, *models: str | None, answers: str = "") -> None:
        self._models = list(models)
        self._answers = answers
        self.asked = self.identified = 0

    async def identity(self, _alias: str, since: float | None = None) -> ModelIdentity:
        self.identified += 1
        model = self._models[0] if since is None or len(self._models) == 1 else self._models.pop(1)
        if model is None:
            raise errors.NotDeployed("It is gone.")
        return ModelIdentity(model, "saas/openai", model)

    def warn(self, text: str) -> None:
        raise AssertionError(text)

    async def send(self) -> AsyncIterator[Any]:
        self.asked += 1
        yield Dispatched(0, 0.0, "", self._answers)
        yield ChatChunk("Because.", finish="stop")


async def answer(deployment: Updated, store: Store, how: How | None = None, request: ChatRequest = REQUEST) -> str:
    with journaling.using(how or How(store=store)):
        items = journaling.asked(deployment, store, "m", request, "req_1", deployment.send)
        return "".join([item.text async for item in items if isinstance(item, ChatChunk)])


async def test_answer_of_a_model_that_took_over_is_not_one_of_the_model_before(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    for later in ("new", None):
        assert await answer(Updated("old", later), store) == "Because."
    same = Updated("old")
    assert await answer(same, store) == await answer(same, store) == "Because."
    assert same.asked == 1
    assert [bool(entry.key) for entry in store.walk() if entry] == [False, False, True]
    store.close()


async def test_pool_that_says_which_model_answers_is_not_asked_for_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    for says, is_kept in (("new", False), ("old", True)):
        deployment = Updated("old", answers=says)
        assert await answer(deployment, store) == "Because."
        assert deployment.identified == 1, "before it was sent"
        assert bool(store.search()[0].key) == is_kept
    store.close()


class Watched(KeyLocks):
    """Locks that say who has them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.held: list[str] = []

    async def take(self, keys: Sequence[str]) -> list[str]:
        self.held += keys
        return [*keys]

    def give_back(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.held.remove(key)


async def test_answer_given_before_it_is_committed_keeps_its_lock_until_then(tmp_path: Path) -> None:
    store, deployment = Store.open(tmp_path), Updated("old", answers="old")
    store.locks = locks = Watched(tmp_path / "locks")
    how = How(store=store, sample=0, once=True, later=True)
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with journaling.giving_later() as later:
            assert await answer(deployment, store, how) == "Because."
        assert [done.done() for done in later] == [False]
        [key] = locks.held
        assert store.has([key]) == set()
        other.execute("COMMIT")
    await asyncio.wait_for(asyncio.wait(later), 10)
    await asyncio.sleep(0)
    assert (locks.held, store.has([key])) == ([], {key})
    assert await answer(deployment, store, how) == "Because."
    assert (locks.held, deployment.asked) == ([], 1)
    store.close()


async def test_answer_that_cannot_be_written_is_given_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journaling, "JOURNAL", journaling.Journal())
    store, deployment = Store.open(tmp_path), Updated("old", answers="old")
    said: list[str] = []
    monkeypatch.setattr(deployment, "warn", said.append)
    monkeypatch.setattr(rows, "INSERT", "INSERT INTO nothing")
    for _time in range(2):
        assert await answer(deployment, store) == "Because."
    assert len(said) == 1
    store.close()


async def test_media_of_a_request_are_kept_and_nothing_that_looks_like_them(tmp_path: Path) -> None:
    store, data = Store.open(tmp_path), b"picture" * 100
    turns = [Message("user", [Media("image/png", data), {"type": "text", "text": '{"sha256": "what?"}'}])]
    for messages in (turns, [Message("user", '{"sha256":"what?"}')]):
        await answer(Updated("old"), store, request=ChatRequest(messages=messages))
    assert [path.read_bytes() for path in (tmp_path / ".byzer" / "media").iterdir()] == [data]
    store.close()
