"""`ByzerLLM.deploy` as a command."""

from __future__ import annotations

import json

import pytest

from byzer_magic.client import fetching
from byzer_magic.client.manager import Manager
from byzer_magic.commands.parser import parse, split
from byzer_magic.compat import deploying
from byzer_magic.compat.deploying import spec_of
from byzer_magic.errors import CommandError
from byzer_magic.runtime.cluster import discovery

SETTINGS = {"maxConcurrency": 2, "workerMaxConcurrency": 4, "num_gpus": 1, "infer_backend": "ray/vllm", "other": 1}


def test_deploy_of_a_local_model_has_the_settings() -> None:
    params = {"backend.enable_lora": True, "backend.max_model_len": 28000}
    spec = spec_of("m", "custom/auto", "/models/qwen", params, SETTINGS)
    line = (
        "deploy --pretrained_model_type custom/auto --infer_backend vllm --model_path /models/qwen --model m --replace"
        " --num_workers 2 --worker_concurrency 4 --gpus_per_worker 1"
        " --infer_params backend.enable_lora=true backend.max_model_len=28000"
    )
    assert spec == parse(split(line))


def test_deploy_of_an_api_leaves_out_what_is_for_engines() -> None:
    spec = spec_of("m", "saas/openai", "", {"saas.model": "gpt-4o"}, SETTINGS)
    assert (spec.infer_backend, spec.gpus_per_worker, spec.num_workers, spec.model_path) == (None, 0.0, 2, None)
    assert spec.replace


def test_parameters_of_the_simple_client_need_no_prefix() -> None:
    spec = spec_of("m", "saas/openai", "", {"saas.model": "x", "is_reasoning": False, "https_verify": False}, {})
    assert spec.infer_params == {"saas.model": "x", "saas.is_reasoning": "false", "saas.https_verify": "false"}


def test_same_deployment_is_made_once_while_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(discovery, "announced", lambda _alias: f"pool {len(made)}" if made else None)
    monkeypatch.setattr(fetching, "deploy", lambda _manager, spec: made.append(spec.infer_params["saas.api_key"]))

    def deploy(key: str) -> None:
        spec = spec_of("m", "saas/openai", "", {"saas.model": "x", "saas.api_key": key}, {})
        deploying.deploy_once(Manager(), spec)

    deploy("a")
    deploy("a")
    deploy("b")
    assert made == ["a", "b"]
    made.append("by another process")
    deploy("b")
    assert made[3:] == ["b"]


def test_deploy_refuses_what_the_command_refuses() -> None:
    with pytest.raises(CommandError, match="not a whole number"):
        spec_of("m", "saas/openai", "", {}, {"maxConcurrency": "two"})


def test_parameters_are_typed_as_in_a_command() -> None:
    spec = spec_of(
        "m", "saas/openai", "", {"saas.model": "x", "saas.extra_body": {"a": [1, "b"]}, "saas.base_url": None}, {}
    )
    assert json.loads(spec.infer_params["saas.extra_body"]) == {"a": [1, "b"]}
    assert "saas.base_url" not in spec.infer_params
