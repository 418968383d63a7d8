"""An API with several keys: which requests are sent again, with which key, and what is known of the keys afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends.http import retry
from byzer_magic.capabilities import Capability
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.plan import resolve
from byzer_magic.runtime.workers import checking
from byzer_magic.runtime.workers.api_workers import ApiWorkers
from byzer_magic.types import ChatRequest
from tests.backends import ask
from tests.conftest import KEY
from tests.servers import process
from tests.servers.process import Process
from tests.waiting import PATIENCE

TRIES = 2


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_DELAY_SECONDS", 0.01)


class Asked:
    """A deployment with some keys, and the keys that its requests have been sent with."""

    def __init__(self, provider: Process, keys: str) -> None:
        params = {"saas.base_url": f"{provider.url}/v1", "saas.api_key": keys, "saas.model": "gpt-4o"}
        spec = DeploySpec(model="m", pretrained_model_type="saas/openai", infer_params=params)
        self.plan = resolve(spec, {}, {})
        self.workers = ApiWorkers(self.plan, lambda *_: None)
        self._provider = provider
        self._before = process.received(provider)

    def items(self, request: ChatRequest) -> Any:
        """Return the response, by the way that a pool goes."""
        return retry.retried(lambda: self.workers.ask(0, Capability.CHAT, request), TRIES)

    async def text(self, text: str, **more: Any) -> str:
        return "".join([item.text async for item in self.items(ask(text, **more))])

    @property
    def sent(self) -> list[str]:
        return [entry["key"] for entry in process.noted_after(self._provider, self._before)]

    @property
    def states(self) -> list[str]:
        return [key.state for key in self.workers.keys]


@pytest.fixture
async def two(provider: Process) -> AsyncIterator[Asked]:
    found = Asked(provider, f"{KEY},{KEY}-second")
    await found.workers.add([0], lambda _: None)
    yield found
    await found.workers.close()


async def test_requests_take_turns(two: Asked) -> None:
    for _ in range(4):
        assert await two.text("hello") == "Echo: hello"
    assert two.sent == ["first", "second"] * 2


async def test_used_up_credit_takes_a_key_out(two: Asked) -> None:
    for _ in range(4):
        assert await two.text("fault:quota only:second hello") == "Echo: hello"
    assert two.sent == ["first", "second", "first", "first", "first"]
    assert two.states == ["up", "refused"]


async def test_failure_of_the_provider_is_retried_with_the_next_key(two: Asked) -> None:
    for _ in range(2):
        assert await two.text("fault:500 only:second hello") == "Echo: hello"
    assert two.sent == ["first", "second", "first"]
    assert two.states == ["up", "up"], "once is not often enough to leave it out"


async def test_fault_of_the_request_is_not_sent_again(two: Asked) -> None:
    for _ in range(3):
        with pytest.raises(errors.ContextTooLong):
            await two.text("fault:context hello")
    assert len(two.sent) == 3
    assert two.states == ["up", "up"]


async def test_response_that_has_begun_is_not_sent_again(two: Asked) -> None:
    with pytest.raises(errors.StreamTruncated):
        await two.text("fault:truncate some words that are enough for several chunks")
    assert two.sent == ["first"]


async def test_limit_of_all_keys_is_waited_for(two: Asked) -> None:
    with pytest.raises(errors.RateLimited) as caught:
        await two.text("fault:429 retry_after=0.1 hello")
    assert two.sent[:2] == ["first", "second"]
    assert 2 <= len(two.sent[2:]) <= 2 * TRIES, "each try waits for the first key that is there again"
    assert not caught.value.details.get("final")


async def test_request_whose_deadline_is_before_that_fails_at_once(two: Asked) -> None:
    with pytest.raises(errors.RateLimited, match=r"m: no key can be used for \d+ s: key 1: rate limit"):
        await asyncio.wait_for(two.text("fault:429 retry_after=60 hello", timeout=20), PATIENCE)
    assert two.sent == ["first", "second"]


async def test_cancelled_request_says_nothing_about_its_key(two: Asked) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(two.text("fault:silence hello"), 0.2)
    async with aclosing(two.items(ask("tokens:50@50"))) as items:
        async for _item in items:
            break
    assert two.states == ["up", "up"]
    assert [key.errors for key in two.workers.keys] == [0, 0]


async def test_all_keys_refused_is_the_provider_s_error_each_time(provider: Process) -> None:
    wrong = Asked(provider, "planted-wrong-1,planted-wrong-2")
    await wrong.workers.add([0], lambda _: None)
    for count in (2, 4):
        with pytest.raises(errors.AuthenticationFailed, match="invalid API key") as caught:
            await wrong.text("hello")
        assert "planted-wrong" not in str(caught.value)
        assert len(wrong.sent) == count, "both are tried each time"
    await wrong.workers.close()


async def test_check_asks_with_each_key(provider: Process) -> None:
    mixed = Asked(provider, f"{KEY},planted-wrong-1,{KEY}-second")
    await mixed.workers.add([0], lambda _: None)
    text = str(await checking.check(mixed.plan, mixed.workers, [0], lambda _: None))
    assert mixed.states == ["up", "refused", "up"]
    assert text.startswith("check passed")
    assert "key 2: refused" in text
    assert "planted" not in text
    await mixed.workers.close()


async def test_restart_begins_anew_with_all_keys(two: Asked) -> None:
    await two.text("fault:quota only:second hello")
    await two.text("fault:quota only:second hello")
    assert two.states == ["up", "refused"]
    await two.workers.restart(0, lambda _: None, first=True)
    assert two.states == ["up", "up"]
