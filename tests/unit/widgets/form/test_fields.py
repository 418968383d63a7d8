"""The fields of a form."""

from __future__ import annotations

import json

import pytest

from byzer_magic.backends import registry
from byzer_magic.backends.base import Info
from byzer_magic.i18n import LANGUAGES, using
from byzer_magic.widgets.form.fields import GROUPS, Bounds, fields_of
from byzer_magic.widgets.form.values import PARAM

BOUNDS = Bounds(cpus=4, gpus=0)


def infos() -> list[Info]:
    saas = [registry.find(kind).info for kind in registry.saas_kinds()]
    return saas + [backend.info for backend in registry.local().values()]


@pytest.mark.parametrize("info", infos(), ids=lambda info: info.kind)
def test_fields_of_has_every_parameter_of_every_backend(info: Info) -> None:
    kind = {"pretrained_model_type": info.kind} if "/" in info.kind else {"infer_backend": info.kind}
    for lang in LANGUAGES:
        with using(lang):
            fields = fields_of(info, kind, BOUNDS)
        keys = [field.key for field in fields]
        assert len(set(keys)) == len(keys)
        assert {f"{PARAM}{param.name}" for param in info.params} <= set(keys)
        assert all(field.label and field.group in GROUPS for field in fields)
        assert json.dumps([field.choices for field in fields])
    required = {f"{PARAM}{param.name}" for param in info.params if param.required}
    assert {field.key for field in fields if field.required} == {"model", *required}
    assert all(field.kind == "secret" for field in fields if field.key.endswith("api_key"))


def test_fields_of_leaves_out_options_that_do_not_apply_to_a_provider() -> None:
    names = {field.key for field in fields_of(registry.find("saas/openai").info, {}, BOUNDS)}
    assert not names & {"model_path", "infer_backend", "gpus_per_worker", "file"}
    local = fields_of(registry.find("custom/auto", "llama_cpp").info, {}, BOUNDS)
    assert {"model_path", "infer_backend", "gpus_per_worker"} <= {field.key for field in local}
    cpus = next(field for field in local if field.key == "cpus_per_worker")
    assert (cpus.minimum, cpus.maximum) == (0, 4)


def test_fields_of_keeps_the_name_that_a_setting_was_typed_with() -> None:
    info = registry.find("saas/openai").info
    values = {f"{PARAM}saas.api_base": "http://x/v1", f"{PARAM}saas.nonsense": "1"}
    keys = [field.key for field in fields_of(info, values, BOUNDS)]
    assert f"{PARAM}saas.api_base" in keys
    assert f"{PARAM}saas.base_url" not in keys
    assert keys.count(f"{PARAM}saas.nonsense") == 1
