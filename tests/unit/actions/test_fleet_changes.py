"""What `update` and `apply` change."""

from __future__ import annotations

from typing import Any

from byzer_magic.actions.fleet import changed
from byzer_magic.actions.fleet_file import differences
from byzer_magic.commands.spec import DeploySpec, UpdateSpec
from byzer_magic.plan import resolve

PARAMS = {"saas.model": "gpt-4o", "saas.api_key": "sk-test-1234567890abcd"}
BEFORE = DeploySpec(model="gpt", pretrained_model_type="saas/openai", num_workers=2, infer_params=PARAMS)


def test_update_changes_only_what_it_names() -> None:
    after = changed(BEFORE, UpdateSpec(model="gpt", num_workers=5, infer_params={"saas.model": "gpt-4o-mini"}))
    assert (after.num_workers, after.worker_concurrency) == (5, BEFORE.worker_concurrency)
    assert after.infer_params == PARAMS | {"saas.model": "gpt-4o-mini"}


def test_update_to_another_type_keeps_no_parameter_of_the_old_one() -> None:
    after = changed(BEFORE, UpdateSpec(model="gpt", pretrained_model_type="custom/auto", model_path="/m"))
    assert after.infer_params == {}


def shown(left_out: tuple[str, ...] = (), **options: Any) -> list[str]:
    params = PARAMS | options.pop("params", {})
    spec = DeploySpec(
        model="gpt", pretrained_model_type="saas/openai", infer_params=params, **{"num_workers": 2} | options
    )
    return list(differences(BEFORE, resolve(spec, {}, {}), left_out))


def test_differences_name_both_values_and_no_secret() -> None:
    assert shown() == []
    assert shown(num_workers=3) == ["num_workers: 2 -> 3"]
    assert shown(params={"saas.model": "gpt-5"}) == ["saas.model: gpt-4o -> gpt-5"]
    assert shown(params={"saas.api_key": "sk-other-1234567890"}) == ["saas.api_key: *** -> ***"]
    assert shown(("saas.api_key",), params={"saas.api_key": "sk-other-1234567890"}) == []
    assert shown(params={"saas.temperature": "0.5"}) == ["saas.temperature: - -> 0.5"]
