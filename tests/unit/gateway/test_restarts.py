"""What the endpoint does when the cluster behind it was restarted, and when a replica of it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.gateway.access import Client
from byzer_magic.gateway.deployments import Deployments
from byzer_magic.types import ChatChunk, ChatRequest, Dispatched, Request
from tests.endpoints import Scripted

CHAT = ChatRequest(messages=[])


class Restarted(Scripted):
    """Deployments of a cluster that is gone until someone connects again."""

    def __init__(self, error: Exception, *before: Any) -> None:
        super().__init__()
        self.error = error
        self.before = before
        self.joined = 0

    def join(self) -> None:
        self.joined += 1

    async def ask(self, alias: str, request: Request, /) -> AsyncIterator[Any]:
        if not self.joined:
            for item in self.before:
                yield item
            raise self.error
        yield Dispatched(0, 0.0)
        yield ChatChunk("hello")

    async def stat(self, alias: str, /) -> Any:
        if not self.joined:
            await asyncio.sleep(0.01)
            raise self.error
        return await super().stat(alias)


async def answer(deployments: Deployments) -> str:
    return "".join([getattr(item, "text", "") async for item in deployments.ask("m", Client(""), CHAT)])


@pytest.mark.parametrize(
    "error", [errors.CannotConnect("gone"), errors.ClusterError("gone"), errors.WorkerLost("gone")]
)
def test_chats_and_facts_connect_again_once(error: Exception) -> None:
    async def run() -> None:
        for many in (1, 20):
            cluster = Restarted(error)
            deployments = Deployments(cluster, reconnect=cluster.join)
            assert await asyncio.gather(*(answer(deployments) for _number in range(many))) == ["hello"] * many
            assert cluster.joined == 1
            cluster = Restarted(error)
            deployments = Deployments(cluster, reconnect=cluster.join)
            found = await asyncio.gather(*(deployments.facts("m", Client("")) for _number in range(many)))
            assert {facts.is_openai for facts in found} == {True}
            assert cluster.joined == 1

    asyncio.run(run())


def test_answer_that_has_begun_is_not_repeated() -> None:
    async def run() -> None:
        cluster = Restarted(errors.WorkerLost("gone"), Dispatched(0, 0.0), ChatChunk("hel"))
        with pytest.raises(errors.WorkerLost):
            await answer(Deployments(cluster, reconnect=cluster.join))
        assert cluster.joined == 0

    asyncio.run(run())


def test_other_errors_do_not_connect_again() -> None:
    async def run() -> None:
        cluster = Restarted(errors.RateLimited("slow down"))
        with pytest.raises(errors.RateLimited):
            await answer(Deployments(cluster, reconnect=cluster.join))
        assert cluster.joined == 0

    asyncio.run(run())


def test_cluster_that_is_gone_is_its_error() -> None:
    async def run() -> None:
        cluster = Restarted(errors.ClusterError("gone"))
        with pytest.raises(errors.ClusterError):
            await answer(Deployments(cluster))

    asyncio.run(run())


def test_hint_names_models_that_the_client_may_use_by_the_names_that_it_knows() -> None:
    async def run() -> None:
        error = errors.Unsupported("a cannot do it", "These: m, hidden.", needs=["chat"])
        deployments = Deployments(Scripted(lambda _alias, _request: [error], m="saas/openai"), {"first": "m"})
        with pytest.raises(errors.Unsupported) as caught:
            [item async for item in deployments.ask("first", Client(""), CHAT)]
        assert "first" in str(caught.value)
        assert "hidden" not in str(caught.value)

    asyncio.run(run())
