"""Which model a deployment is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from byzer_magic.commands.spec import DeploySpec
from byzer_magic.plan import resolve
from byzer_magic.runtime.model_identity import of_plan


def api(**params: Any) -> str:
    usual = {"saas.api_key": "sk-one-abcdef", "saas.model": "gpt-4o"}
    known = usual | {f"saas.{name}": text for name, text in params.items()}
    spec = DeploySpec(model="m", pretrained_model_type="saas/openai", infer_params=known)
    return of_plan(resolve(spec, {}, {})).digest


def test_api_is_known_by_all_settings_but_secrets_and_patience() -> None:
    same = {api(), api(api_key="sk-two-abcdef"), api(timeout="5"), api(max_retries="0")}
    assert len(same) == 1
    others = {api(model="gpt-4o-mini"), api(base_url="https://e.org/v1"), api(extra_body='{"seed": 1}')}
    assert len(same | others) == 4


def test_route_has_its_members(tmp_path: Path) -> None:
    spec = DeploySpec(model="best", pretrained_model_type="route", infer_params={"route.to": "a,b"})
    assert of_plan(resolve(spec, {}, {})).members == ["a", "b"]
