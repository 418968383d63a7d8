"""Asking for an answer that is kept, and continuing it from another process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.client import answers, journaling
from byzer_magic.client.answers import Background, Found, chosen
from byzer_magic.client.converse import Exchange
from byzer_magic.journal.store import Store
from byzer_magic.request_ids import short
from byzer_magic.results import ChatResult
from byzer_magic.runtime.transport.messages import KeptAnswer
from byzer_magic.types import ChatChunk, ChatRequest, Dispatched, Message
from tests.pools import Near, Pools

REQUEST = ChatRequest(messages=[Message("user", "Why?")], options={"temperature": 0})


class Model:
    """Answers slowly, and counts what it is asked."""

    def __init__(self, *texts: str, pause: float = 0.02) -> None:
        self.asked = 0
        self._texts = texts
        self._pause = pause

    async def __call__(self, _request: Any) -> AsyncIterator[Any]:
        self.asked += 1
        yield Dispatched(0, 0.0, "req")
        for text in self._texts:
            await asyncio.sleep(self._pause)
            yield ChatChunk(text)
        yield ChatChunk(finish="stop")


def found(identity: str, alias: str = "m", *, state: str = "done", folder: str = "/a", age: float = 1.0) -> Found:
    return Found(alias, KeptAnswer(f"req_{identity}", "chat", state, "Why?", age, 0, folder, error="too old"))


KNOWN = [found("cc11", "other", folder="/b"), found("aa22"), found("aa11", "n"), found("dd00", state="dropped")]


@pytest.mark.parametrize(
    ("name", "here", "expected"),
    [
        ("", "/a", "aa22"),
        ("", "/b", "cc11"),
        ("m", "/b", "aa22"),
        ("n", "/a", "aa11"),
        ("aa1", "/a", "aa11"),
        ("req_cc11", "/a", "cc11"),
        ("dd", "/a", "dd00"),
    ],
)
def test_a_name_is_an_alias_or_the_beginning_of_an_id_and_none_the_newest_of_the_folder(
    name: str, here: str, expected: str
) -> None:
    assert chosen(KNOWN, name, here).answer.id == f"req_{expected}"


@pytest.mark.parametrize(
    ("known", "name", "message"),
    [
        (KNOWN, "", "None of the answers was asked for in this folder"),
        (KNOWN, "aa", "Several answers begin with aa.\nName one of: aa22 (m), aa11 (n)."),
        (KNOWN, "zz", "There is no answer zz"),
        (KNOWN[3:], "", "No deployment keeps an answer"),
        ([], "zz", "No deployment keeps an answer"),
    ],
)
def test_what_is_not_one_answer_is_named(known: list[Found], name: str, message: str) -> None:
    with pytest.raises(errors.CommandError) as caught:
        chosen(known, name, "/elsewhere")
    assert message in str(caught.value)


def test_the_only_answer_needs_no_name() -> None:
    assert chosen([found("aa", folder="/other")], "", "/here").answer.id == "req_aa"


async def test_an_answer_that_was_dropped_says_why() -> None:
    manager = Near()
    await manager.connection.link("m")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "everywhere", lambda _manager: asyncio.sleep(0, KNOWN))
        with pytest.raises(errors.RequestError, match="The answer dd00 is no longer kept: too old"):
            await answers.find(manager, "dd00")


async def begun(pools: Pools, *, session: str = "") -> Background:
    """Ask for an answer as a process does that ends then."""
    manager = Near(pools)
    background = Background(manager, Exchange(manager, "m", REQUEST), session)
    assert await background.begin() is None
    return background


async def attached(pools: Pools) -> Exchange:
    manager = Near(pools)
    return await answers.attached(manager, await answers.find(manager))


async def test_another_process_gets_the_whole_answer_with_its_times_and_the_model_is_asked_once() -> None:
    model = Model("Be", "cause.", pause=0.05)
    pools = Pools(model)
    background = await begun(pools)
    [listed] = await answers.everywhere(Near(pools))
    assert short(listed.answer.id) == short(background.id)
    result = await (await attached(pools)).run()
    assert isinstance(result, ChatResult)
    assert (result.text, result.finish, result.worker) == ("Because.", "stop", 0)
    await asyncio.sleep(0.2)
    later = await (await attached(pools)).run()
    assert later.timings == result.timings, "those of the answer, and not of the attachment"
    assert later.timings.first_token
    assert 0.04 < later.timings.first_token < later.timings.total
    assert model.asked == 1


async def test_leaving_an_attachment_leaves_the_answer_going() -> None:
    model = Model(*"abcdef")
    pools = Pools(model)
    await begun(pools)
    exchange = await attached(pools)
    async for _item in exchange.items():
        if exchange.collector.text:
            break
    assert str(await (await attached(pools)).run()) == "abcdef"
    assert model.asked == 1


async def test_an_answer_that_ends_at_once_has_begun_too() -> None:
    pools = Pools(Model("x", pause=0))
    await begun(pools)
    assert str(await (await attached(pools)).run()) == "x"


async def test_a_refused_request_is_an_error_at_once() -> None:
    async def refuse(_request: Any) -> AsyncIterator[Any]:
        raise errors.Overloaded("The queue is full.")
        yield

    manager = Near(Pools(refuse))
    background = Background(manager, Exchange(manager, "m", REQUEST))
    with pytest.raises(errors.Overloaded):
        await background.run()


async def test_an_answer_whose_process_was_killed_is_in_the_journal_once_it_was_attached(tmp_path: Path) -> None:
    pools = Pools(Model("Be", "cause."))
    sent = time.time()
    await begun(pools)
    while [listed.answer.state for listed in await answers.everywhere(Near(pools))] != ["done"]:
        await asyncio.sleep(0.01)
    complete = time.time()
    store = Store.open(tmp_path)
    with journaling.using(journaling.How(store=store)):
        for _ in range(2):
            await asyncio.sleep(0.1)
            await (await attached(pools)).run()
    [entry] = store.walk()
    assert entry is not None
    assert (entry.answer, entry.status, entry.prompt) == ("Because.", "complete", "Why?")
    assert sent - 0.01 <= entry.at <= complete, "when it was asked, and not when it was attached"
    assert 0.01 < (entry.ttft or 0) < entry.total < complete - sent + 0.01, "at the pace at which it came"
    assert 0.01 < entry.pieces[0][0] < entry.pieces[-1][0]
    store.close()


async def test_what_the_journal_knows_is_not_asked_in_the_background(tmp_path: Path) -> None:
    model = Model("Because.")
    manager = Near(Pools(model))
    store = Store.open(tmp_path)
    with journaling.using(journaling.How(store=store)):
        await Exchange(manager, "m", REQUEST).run()
        background = Background(manager, Exchange(manager, "m", REQUEST))
        known = await background.begin()
    assert isinstance(known, ChatResult)
    assert known.text == "Because."
    assert model.asked == 1
    store.close()
