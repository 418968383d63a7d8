"""What an answer costs, from the pool to the client."""

from __future__ import annotations

import pytest

import byzer_magic as bz
from byzer_magic.catalog import prices
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.rendering import amounts, footer
from byzer_magic.results import ChatResult
from tests.conftest import KEY
from tests.servers.process import Process

pytestmark = pytest.mark.ray


def deploy(manager: Manager, alias: str, **params: str) -> None:
    known = {"saas.api_key": KEY, "saas.model": "gpt-4o"} | {f"saas.{name}": text for name, text in params.items()}
    spec = DeploySpec(model=alias, pretrained_model_type="saas/openai", cpus_per_worker=0.001, infer_params=known)
    for _ in manager.iterate(manager.deploy(manager.plan(spec))):
        pass


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
