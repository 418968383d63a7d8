"""What an answer costs, from the pool to the client."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

import byzer_magic as bz
from byzer_magic import errors
from byzer_magic.catalog import prices
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.rendering import amounts, footer
from byzer_magic.results import ChatResult
from byzer_magic.stat import LimitStat
from byzer_magic.types import Event, Placed
from tests.conftest import KEY, alive
from tests.servers.process import Process
from tests.waiting import eventually

pytestmark = pytest.mark.ray


def deploy(manager: Manager, alias: str, budget: float = 0.0, **params: str) -> list[Event]:
    known = {"saas.api_key": KEY, "saas.model": "gpt-4o"} | {f"saas.{name}": text for name, text in params.items()}
    spec = DeploySpec(
        model=alias, pretrained_model_type="saas/openai", cpus_per_worker=0.001, infer_params=known,
        budget_usd=budget, budget_per="day",
    )  # fmt: skip
    return list(manager.iterate(manager.deploy(manager.plan(spec))))


def test_response_has_its_cost(manager: Manager, provider: Process) -> None:
    deploy(manager, "priced", base_url=f"{provider.url}/v1")
    result = bz.model("priced").chat("hello")
    price = prices.find("saas/openai", "gpt-4o")
    assert isinstance(result, ChatResult)
    assert price
    assert result.usage
    assert result.cost == pytest.approx(price.of(result.usage))
    assert result.currency == "USD"
    assert amounts.money(result.cost, "USD") in footer.line(result)
    pieces = list(bz.model("priced").stream("hello"))
    assert [piece.usage.cost for piece in pieces if piece.usage] == [result.cost]
    assert bz.model("priced").stat().cost == pytest.approx(2 * result.cost)


def test_same_model_name_elsewhere_has_no_price(manager: Manager, provider: Process) -> None:
    # Our provider is the HTTP proxy on the way to another URL, so that no request leaves the machine.
    deploy(manager, "cheap", base_url="http://models.example.com/v1", proxies=provider.url)
    result = bz.model("cheap").chat("hello")
    assert result.usage
    assert (result.cost, result.currency) == (None, "")
    assert "$" not in footer.line(result)


def test_budget_outlives_the_pool_and_an_update_raises_it(manager: Manager, provider: Process) -> None:
    events = deploy(manager, "poor", budget=2e-5, base_url=f"{provider.url}/v1")
    model = bz.model("poor")
    result = model.chat("hello")
    assert isinstance(result, ChatResult)
    assert result.cost
    assert result.cost > 2e-5, "one alone needs room for its prompt only"
    with pytest.raises(errors.BudgetSpent, match=r"poor has spent \$0.0000\d+ of its budget of \$0.00002 for today"):
        model.chat("hello")
    file = Path(manager.run(manager.fleet()).path)
    assert eventually(lambda: '"spent": {' in file.read_text())
    pool = next(event.pid for event in events if isinstance(event, Placed))
    os.kill(pool, signal.SIGKILL)

    def limits() -> list[LimitStat]:
        with contextlib.suppress(errors.ByzerError):
            return model.stat().limits
        return []

    assert eventually(lambda: limits() and not alive(pool))
    [left] = limits()
    assert (left.name, left.per, left.limit) == ("budget_usd", "day", 2e-5)
    assert left.used == pytest.approx(result.cost)
    with pytest.raises(errors.BudgetSpent):
        model.chat("hello")
    spec = manager.run(manager.spec("poor"))
    for _ in manager.iterate(manager.update(manager.plan(replace(spec, budget_usd=1.0)))):
        pass
    model.chat("hello")
    assert model.stat().limits[0].used == pytest.approx(2 * result.cost)
