"""Prices of deployments, as their pools say; a route has that of its dearest model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from byzer_magic.catalog import prices
from byzer_magic.client import pricing
from byzer_magic.client.pricing import Priced, Prices
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import BadRequest
from byzer_magic.plan import Plan, resolve
from byzer_magic.runtime.model_identity import About
from tests.pools import Pool, Pools

LARGE, SMALL = (prices.find("saas/openai", name) for name in ("gpt-4o", "gpt-4o-mini"))


def planned(kind: str, **params: str) -> Plan:
    return resolve(DeploySpec(model="m", pretrained_model_type=kind, infer_params=params), {}, {})


def openai(model: str) -> Plan:
    return planned("saas/openai", **{"saas.api_key": "sk-one-abcdef", "saas.model": model})


def pools(**plans: Plan) -> Pools:
    """Pools that serve these plans."""
    found = Pools()
    for alias, plan in plans.items():
        found.pools[alias] = Pool()
        found.pools[alias].methods["price"] = About(lambda plan=plan: plan).price  # type: ignore[misc]  # of this plan
    return found


async def test_price_is_that_of_the_plan() -> None:
    found = pools(large=openai("gpt-4o"), other=openai("my-own"))
    assert await Prices().of(found, "large") == Priced(price=LARGE)
    assert await Prices().of(found, "other") == Priced()


async def refused(_nothing: None) -> AsyncIterator[Any]:
    """Answer as a pool of an older version does."""
    raise BadRequest("There is no method price.")
    yield


async def test_route_costs_what_its_dearest_model_costs() -> None:
    members = {"small": openai("gpt-4o-mini"), "large": openai("gpt-4o")}
    found = pools(route=planned("route", **{"route.to": "small,large,old"}), **members)
    found.pools["old"] = Pool()
    found.pools["old"].methods["price"] = refused
    assert (await Prices().of(found, "route")).price == LARGE
    assert pricing.dearest([Priced(is_free=True), Priced(is_free=True)]).is_free
    assert pricing.dearest([Priced(price=SMALL, limit=5), Priced(price=LARGE, limit=9)]).limit == 9
    assert pricing.dearest([Priced(price=SMALL), Priced(price=LARGE, limit=9)]).limit is None
    assert not pricing.dearest([Priced(is_free=True), Priced(price=SMALL)]).is_free


async def test_price_is_asked_again_after_a_while_and_old_pools_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    found, known = pools(m=openai("gpt-4o")), Prices()
    await known.of(found, "m")
    found.pools["m"].methods["price"] = refused
    assert (await known.of(found, "m")).price == LARGE
    monkeypatch.setattr(pricing, "PRICE_SECONDS", -1.0)
    assert await known.of(found, "m") == Priced()
