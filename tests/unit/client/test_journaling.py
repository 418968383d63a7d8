"""Which answers the journal gives again: those of the model that is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from byzer_magic import errors
from byzer_magic.client import journaling
from byzer_magic.client.journaling import How
from byzer_magic.config import Settings
from byzer_magic.journal.store import Store
from byzer_magic.runtime.transport.messages import ModelIdentity
from byzer_magic.types import ChatChunk, ChatRequest, Dispatched, Message

REQUEST = ChatRequest(messages=[Message("user", "Why?")], options={"temperature": 0})


class Updated:
    """A deployment that is updated while it is asked; what it is, is known from a moment ago."""

    settings = Settings()

    def __init__(self, *models: str | None) -> None:
        self._models = list(models)
        self.asked = 0

    async def identity(self, _alias: str, since: float | None = None) -> ModelIdentity:
        model = self._models[0] if since is None or len(self._models) == 1 else self._models.pop(1)
        if model is None:
            raise errors.NotDeployed("It is gone.")
        return ModelIdentity(model, "saas/openai", model)

    def warn(self, text: str) -> None:
        raise AssertionError(text)

    async def send(self) -> AsyncIterator[Any]:
        self.asked += 1
        yield Dispatched(0, 0.0)
        yield ChatChunk("Because.", finish="stop")


async def answer(deployment: Updated, store: Store) -> str:
    with journaling.using(How(store=store)):
        items = journaling.asked(deployment, store, "m", REQUEST, "req_1", deployment.send)
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
