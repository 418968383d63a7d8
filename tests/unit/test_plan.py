"""A spec becomes a plan without Ray, and without starting anything."""

from __future__ import annotations

import pytest

from byzer_magic.commands.options import options_of
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import BadParameter, CommandError
from byzer_magic.plan import resolve
from byzer_magic.routing.policy import POLICIES


def spec(**more: object) -> DeploySpec:
    params = {"saas.model": "x", "saas.api_key": "sk-planted-2b1f"}
    return DeploySpec(model="m", pretrained_model_type="saas/openai", infer_params=params, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", POLICIES)
def test_plan_keeps_the_load_balancing_policy(policy: str) -> None:
    assert resolve(spec(load_balance=policy), {}, {}).spec.load_balance == policy


def test_load_balance_offers_every_policy() -> None:
    option = next(option for option in options_of(DeploySpec) if option.name == "load_balance")
    assert set(option.choices) == set(POLICIES)


def test_load_balance_suggests_the_policy_that_was_meant() -> None:
    with pytest.raises(CommandError, match="least_busy") as caught:
        spec(load_balance="least_buzy")
    assert "Did you mean least_busy?" in caught.value.hint


def test_placement_is_refused_where_there_is_nothing_to_place() -> None:
    with pytest.raises(BadParameter, match="the workers of saas/openai share one process"):
        resolve(spec(placement="spread"), {}, {})


def test_plan_repr_shows_no_secret() -> None:
    plan = resolve(spec(), {}, {})
    assert "sk-planted" not in repr(plan)
    assert "sk-planted-2b1f" in plan.hidden


@pytest.mark.parametrize("path", [" ", "\u3000", "\u200b\n", "${NOTHING}"])
def test_a_blank_path_is_empty(path: str) -> None:
    spec = DeploySpec(model="m", infer_backend="llama_cpp", model_path=path)
    with pytest.raises(BadParameter, match=r"^--model_path is empty"):
        resolve(spec, {"NOTHING": " "}, {})


def test_error_names_the_variable_whose_value_has_the_wrong_type() -> None:
    params = {"saas.model": "m", "saas.api_key": "k", "saas.timeout": "${K}"}
    spec = DeploySpec(model="m", pretrained_model_type="saas/openai", infer_params=params)
    with pytest.raises(BadParameter) as caught:
        resolve(spec, {}, {"K": "sk-SECRETVALUE99"})
    assert "saas.timeout (${K}) is" in str(caught.value)
    assert "SECRET" not in str(caught.value)
