from __future__ import annotations

import re
from datetime import date

import pytest

from byzer_magic.backends import registry
from byzer_magic.backends.base import typed_params
from byzer_magic.catalog import model_facts, presets
from byzer_magic.commands.spec import DeploySpec, EasyDeploySpec
from byzer_magic.errors import UnknownKind

ORIGINAL = {
    "gpt-3.5-turbo-0125",
    "text-embedding-3-small",
    "deepseek-chat",
    "deepseek-coder",
    "moonshot-v1-32k",
    "qwen1.5-32b-chat",
    "qwen-max",
    "deepseek-ai/deepseek-v2-chat",
    "alibaba/Qwen1.5-110B-Chat",
    "alibaba/Qwen2-72B-Instruct",
    "qwen-vl-chat-v1",
    "qwen-vl-max",
    "yi-vision",
    "gpt4o",
    "sonnet3.5",
}


URLS = {
    "deepseek-chat": "https://api.deepseek.com/v1",
    "deepseek-coder": "https://api.deepseek.com/v1",
    "moonshot-v1-32k": "https://api.moonshot.cn/v1",
    "deepseek-ai/deepseek-v2-chat": "https://api.siliconflow.cn/v1",
    "alibaba/Qwen1.5-110B-Chat": "https://api.siliconflow.cn/v1",
    "alibaba/Qwen2-72B-Instruct": "https://api.siliconflow.cn/v1",
    "yi-vision": "https://api.lingyiwanwu.com/v1",
}


def test_presets_include_those_of_the_original() -> None:
    assert list(presets.load())[: len(ORIGINAL)] == sorted(ORIGINAL, key=list(presets.load()).index)
    assert {name: url for name in ORIGINAL if (url := presets.find(name).base_url)} == URLS


@pytest.mark.parametrize("preset", presets.load().values(), ids=presets.load())
def test_preset_rows_are_complete(preset: presets.Preset) -> None:
    assert preset.pretrained_model_type.startswith(("saas/", "custom/"))
    assert re.fullmatch(r"[A-Z][A-Z0-9_]+|", preset.env)
    assert preset.base_url is None or preset.base_url.startswith("https://")
    assert re.search(r"https?://|models\.dev", preset.source)
    date.fromisoformat(preset.checked)
    assert set(preset.capabilities) == model_facts.facts(preset.model).capabilities


@pytest.mark.parametrize("preset", presets.load().values(), ids=presets.load())
def test_preset_is_a_deployment_that_passes_the_checks(preset: presets.Preset) -> None:
    info = registry.find(preset.pretrained_model_type).info
    params = presets.spec(EasyDeploySpec(preset=preset.name, token="k-12345678")).infer_params
    assert typed_params(info, params, {})["saas.model"] == preset.model
    key = next(param for param in info.params if param.name == "saas.api_key")
    assert preset.base_url or preset.env in (key.env or ("",)), "the type knows another variable"


def test_spec_of_a_preset() -> None:
    assert presets.spec(EasyDeploySpec(preset="alibaba/Qwen1.5-110B-Chat")) == DeploySpec(
        model="alibaba_Qwen1_5_110B_Chat",
        pretrained_model_type="saas/openai",
        num_workers=1,
        worker_concurrency=1000,
        cpus_per_worker=0.001,
        gpus_per_worker=0,
        infer_params={
            "saas.model": "alibaba/Qwen1.5-110B-Chat",
            "saas.api_key": "${SILICONFLOW_API_KEY}",
            "saas.base_url": "https://api.siliconflow.cn/v1",
        },
        check=True,
    )


def test_spec_is_not_checked_where_the_user_says_so() -> None:
    assert presets.spec(EasyDeploySpec(preset="gpt4o", check=True)).check
    assert not presets.spec(EasyDeploySpec(preset="gpt4o", no_check=True)).check


def test_spec_has_no_base_url_where_the_type_has_its_own() -> None:
    assert presets.spec(EasyDeploySpec(preset="gpt4o", token="k")).infer_params == {
        "saas.model": "gpt-4o",
        "saas.api_key": "k",
    }


def test_spec_has_no_key_where_none_is_needed() -> None:
    assert presets.spec(EasyDeploySpec(preset="ollama")).infer_params == {"saas.model": "qwen3.5"}
    assert presets.spec(EasyDeploySpec(preset="ollama", token="k")).infer_params["saas.api_key"] == "k"


def test_spec_takes_what_the_user_gives() -> None:
    easy = EasyDeploySpec(
        preset="deepseek-chat",
        alias="mine",
        base_url="http://127.0.0.1:1/v1",
        infer_params={"saas.model": "deepseek-v4-flash", "saas.timeout": "9"},
        ray_address="10.0.0.5:6379",
        replace=True,
        dry_run=True,
    )
    spec = presets.spec(easy)
    assert (spec.model, spec.ray_address, spec.replace, spec.dry_run) == ("mine", "10.0.0.5:6379", True, True)
    assert spec.infer_params == {
        "saas.model": "deepseek-v4-flash",
        "saas.api_key": "${DEEPSEEK_API_KEY}",
        "saas.base_url": "http://127.0.0.1:1/v1",
        "saas.timeout": "9",
    }


def test_find_suggests_the_nearest_preset() -> None:
    with pytest.raises(UnknownKind, match="Unknown preset 'deepseek-chta'") as caught:
        presets.find("deepseek-chta")
    assert caught.value.hint == "Did you mean deepseek-chat?"


def test_preset_of_a_retired_model_names_its_successor() -> None:
    assert "gpt-6-luna" in presets.find("gpt4o").note


def test_table_has_a_row_for_each_preset() -> None:
    rows = presets.table()
    assert [row["preset"] for row in rows] == list(presets.load())
    assert rows[0] | {"note": ""} == {
        "preset": "gpt4o",
        "provider": "OpenAI",
        "type": "saas/openai",
        "model": "gpt-4o",
        "can": "chat, vision, tools",
        "key": "OPENAI_API_KEY",
        "note": "",
    }
