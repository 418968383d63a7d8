"""What a route knows of its deployments follows their updates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends.route import PATIENCE, TO
from byzer_magic.capabilities import Capability, needed_by
from byzer_magic.runtime.workers import route_workers
from byzer_magic.runtime.workers.route_workers import RouteWorkers
from byzer_magic.stat import ModelStat
from byzer_magic.types import ChatChunk, ChatRequest, EmbedRequest, Media, Message, Request, Routed

TEXT = ChatRequest(messages=[Message("user", "hi")])
PICTURE = ChatRequest(messages=[Message("user", [Media("image/png", b"x")])])


class Arm:
    """A deployment that answers with its alias, and can be updated."""

    connected = True

    def __init__(self, alias: str, *capabilities: str) -> None:
        self.alias, self.capabilities, self.looks = alias, [*capabilities], 0

    async def call(self, _method: str) -> ModelStat:
        self.looks += 1
        return ModelStat(
            model=self.alias,
            kind="saas/openai",
            strategy="lru",
            capabilities=self.capabilities,
            workers=[],
            concurrency=1,
        )

    async def stream(self, _method: str, request: Request) -> AsyncIterator[Any]:
        if needed_by(request) - {*map(Capability, self.capabilities)}:
            raise errors.Unsupported("It cannot do this.", needs=[])
        yield ChatChunk(self.alias)

    async def close(self) -> None:
        self.connected = False


class Route(RouteWorkers):
    """A route to some arms."""

    def __init__(self, *arms: Arm) -> None:
        self.told: list[frozenset[Capability]] = []
        plan: Any = SimpleNamespace(
            setup=SimpleNamespace(params={TO: ",".join(arm.alias for arm in arms), PATIENCE: 5})
        )
        super().__init__(plan, lambda _index, _state: self.told.append(self.capabilities))
        self._links = {arm.alias: arm for arm in arms}  # type: ignore[dict-item]  # arms of the test

    async def answers(self, request: Request) -> tuple[str, list[str]]:
        """Return who answered, and who did not."""
        async for item in self.ask(0, Capability.CHAT, request):
            if isinstance(item, Routed):
                return item.alias, [alias for alias, _why in item.skipped]
        raise AssertionError("nobody has answered")


async def test_deployment_that_refuses_is_looked_at_anew() -> None:
    one, two = Arm("one", "chat", "vision"), Arm("two", "chat", "vision")
    route = Route(one, two)
    await route.add([0], lambda _event: None)
    assert await route.answers(PICTURE) == ("one", [])
    one.capabilities = ["chat"]
    assert await route.answers(PICTURE) == ("two", ["one"])
    assert one.looks == 1
    assert await route.answers(PICTURE) == ("two", ["one"])
    assert one.looks == 2, "so that it was not asked for what it cannot do"


async def test_new_capability_of_a_deployment_is_found_while_others_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = Arm("one", "chat"), Arm("two", "chat", "vision")
    route = Route(one, two)
    await route.add([0], lambda _event: None)
    one.capabilities = ["chat", "vision", "tools"]
    assert await route.answers(PICTURE) == ("two", ["one"]), "it was looked at a moment ago"
    monkeypatch.setattr(route_workers, "LOOK_SECONDS", -1.0)
    await route.answers(TEXT)
    await asyncio.gather(*route._looking.values())
    assert await route.answers(PICTURE) == ("one", [])
    assert Capability.TOOLS in route.told[-1], "the pool shows it, too"
    await route.close()


async def test_deployment_that_does_not_answer_keeps_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Arm("one", "chat")
    route = Route(one)
    await route.add([0], lambda _event: None)
    monkeypatch.setattr(route_workers, "LOOK_SECONDS", -1.0)

    async def lost(_method: str) -> ModelStat:
        raise errors.WorkerLost("gone")

    monkeypatch.setattr(one, "call", lost)
    for _time in range(2):
        assert await route.answers(TEXT) == ("one", [])
        await asyncio.gather(*route._looking.values())
    with pytest.raises(errors.Unsupported):
        await route.answers(EmbedRequest(texts=["a"]))  # type: ignore[arg-type]
    await route.close()
