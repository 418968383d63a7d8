"""The workers of an API: one backend for all, and what a restart does to its connections."""

from __future__ import annotations

import psutil
import pytest

from byzer_magic import errors
from byzer_magic.capabilities import Capability
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.plan import Plan, resolve
from byzer_magic.runtime.workers.api_workers import ApiWorkers
from byzer_magic.types import ChatRequest, Message
from tests.conftest import KEY
from tests.servers.process import Process


@pytest.fixture
def plan(provider: Process) -> Plan:
    params = {"saas.base_url": f"{provider.url}/v1", "saas.api_key": KEY, "saas.model": "gpt-4o"}
    return resolve(DeploySpec(model="m", pretrained_model_type="saas/openai", infer_params=params), {}, {})


def connections(provider: Process) -> set[int]:
    """Return our ends of the connections to the provider."""
    port = int(provider.url.rsplit(":", 1)[1])
    return {
        each.laddr.port
        for each in psutil.Process().net_connections("tcp")
        if each.raddr and each.raddr.port == port and each.status == psutil.CONN_ESTABLISHED
    }


async def ask(slots: ApiWorkers, worker: int) -> str:
    request = ChatRequest(messages=[Message("user", "hello")])
    return "".join([getattr(item, "text", "") async for item in slots.ask(worker, Capability.CHAT, request)])


async def test_renew_opens_one_backend_for_all_workers(plan: Plan, provider: Process) -> None:
    reported: list[tuple[int, str]] = []
    slots = ApiWorkers(plan, lambda worker, health: reported.append((worker, health)))
    await slots.add(range(2), lambda _: None)
    assert reported == [(0, "up"), (1, "up")]
    for worker in (0, 1):
        assert await ask(slots, worker) == "Echo: hello"
    before = connections(provider)
    assert len(before) == 1
    for worker in (0, 1):
        await slots.restart(worker, lambda _: None, first=worker == 0)
        assert await ask(slots, worker) == "Echo: hello"
    between = connections(provider)
    assert len(between) == 1
    assert not between & before
    await slots.restart(1, lambda _: None, first=True)  # another day: what was new then is old now
    assert await ask(slots, 1) == "Echo: hello"
    assert len(connections(provider) - between) == 1
    await slots.close()
    assert connections(provider) == set()


async def test_failed_renew_keeps_the_old_backend(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[tuple[int, str]] = []
    slots = ApiWorkers(plan, lambda worker, health: reported.append((worker, health)))
    await slots.add(range(1), lambda _: None)

    async def broken(*_: object) -> None:
        raise errors.ConfigError("the package is gone")

    with monkeypatch.context() as patch, pytest.raises(errors.ConfigError):
        patch.setattr(plan.backend, "open", broken)
        await slots.restart(0, lambda _: None, first=True)
    assert reported[-1] == (0, "up")
    assert await ask(slots, 0) == "Echo: hello"
    await slots.close()
