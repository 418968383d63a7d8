"""Names of models with a LoRA adapter after a colon at the endpoint: which model, which keys, which metrics."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from byzer_magic.gateway.access import Access
from byzer_magic.gateway.keys import KeyFile
from tests.endpoints import Running, Scripted, running

KINDS = {"qwen": "custom/auto (vllm)", "qwen:7b": "saas/ollama", "other": "saas/openai"}


def asked(endpoint: Running, model: str, key: str = "none") -> str:
    """Return the name by which the cluster is asked for a model."""
    with openai.OpenAI(base_url=f"{endpoint.url}/v1", api_key=key, max_retries=0) as client:
        answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
    assert answer.model == model
    return endpoint.scripted.asked[-1][0]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Running]:
    with running(Scripted(**KINDS)) as found:
        yield found


@pytest.mark.parametrize("name", ["qwen", "qwen:pirate", "qwen:7b", "qwen:7b:pirate"])
def test_aliases_and_adapters_are_asked_by_their_names(endpoint: Running, name: str) -> None:
    assert asked(endpoint, name) == name


def test_unknown_name_gets_the_nearest_with_its_adapter(endpoint: Running) -> None:
    with pytest.raises(openai.NotFoundError, match="Did you mean other:pirate"):
        asked(endpoint, "othr:pirate")


def test_served_names_may_have_an_adapter() -> None:
    served = {"gpt-4o": "qwen", "captain": "qwen:pirate"}
    with running(Scripted(**KINDS), served=served) as endpoint:
        assert asked(endpoint, "gpt-4o:poet") == "qwen:poet"
        assert asked(endpoint, "captain") == "qwen:pirate"
        with openai.OpenAI(base_url=f"{endpoint.url}/v1", api_key="none") as client:
            assert {model.id for model in client.models.list()} == set(served)
        with pytest.raises(openai.NotFoundError):
            asked(endpoint, "qwen:pirate")


def test_key_of_a_model_is_one_of_its_adapters_and_of_no_other_alias(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    key = keys.add("alice", models=["qwen"])
    with running(Scripted(**KINDS), Access(None, keys)) as endpoint:
        assert asked(endpoint, "qwen:pirate", key) == "qwen:pirate"
        for name in ("qwen:7b", "qwen:7b:pirate", "other"):
            with pytest.raises(openai.NotFoundError):
                asked(endpoint, name, key)


def test_metrics_are_labelled_by_the_model_not_by_what_clients_call_its_adapters(endpoint: Running) -> None:
    asked(endpoint, "qwen:pirate")
    with urllib.request.urlopen(f"{endpoint.url}/metrics") as response:
        text = response.read().decode()
    assert 'model="qwen"' in text
    assert "pirate" not in text
