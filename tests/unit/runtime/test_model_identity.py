"""Which model a deployment is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from byzer_magic.commands.spec import DeploySpec
from byzer_magic.plan import Plan, resolve
from byzer_magic.runtime.model_identity import About, of_plan


def plan_of(**params: Any) -> Plan:
    usual = {"saas.api_key": "sk-one-abcdef", "saas.model": "gpt-4o"}
    known = usual | {f"saas.{name}": text for name, text in params.items()}
    return resolve(DeploySpec(model="m", pretrained_model_type="saas/openai", infer_params=known), {}, {})


def api(**params: Any) -> str:
    return of_plan(plan_of(**params)).digest


async def test_price_comes_with_the_limit_that_the_deployment_sets() -> None:
    plans = [plan_of(), plan_of(max_tokens="50"), plan_of(extra_body='{"max_completion_tokens": 70}')]
    found = [price for plan in plans async for price in About(lambda plan=plan: plan).price(None)]  # type: ignore[misc]
    assert [price.limit for price in found] == [None, 50, 70]


def test_api_is_known_by_all_settings_but_secrets_and_patience() -> None:
    same = {api(), api(api_key="sk-two-abcdef"), api(timeout="5"), api(max_retries="0")}
    assert len(same) == 1
    others = {api(model="gpt-4o-mini"), api(base_url="https://e.org/v1"), api(extra_body='{"seed": 1}')}
    assert len(same | others) == 4


def test_route_has_its_members(tmp_path: Path) -> None:
    spec = DeploySpec(model="best", pretrained_model_type="route", infer_params={"route.to": "a,b"})
    assert of_plan(resolve(spec, {}, {})).members == ["a", "b"]


async def test_digest_is_known_once_it_was_asked_for_until_the_plan_changes() -> None:
    def plan(model: str) -> Plan:
        params = {"saas.api_key": "sk-one-abcdef", "saas.model": model}
        return resolve(DeploySpec(model="m", pretrained_model_type="saas/openai", infer_params=params), {}, {})

    served = plan("gpt-4o")
    about = About(lambda: served)
    assert about.digest == ""
    [found] = [item async for item in about.model(None)]
    assert about.digest == found.digest
    served = plan("gpt-4o-mini")
    assert about.digest == "", "it is another model"
