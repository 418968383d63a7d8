"""LoRA adapters by the name of the model, `alias:adapter`, wherever a model has a name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

import byzer_magic as bz
from byzer_magic import errors
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec, ScaleSpec, UndeploySpec
from byzer_magic.compat.llm import ByzerLLM
from tests.conftest import Shell
from tests.endpoints import running
from tests.models.tiny_lora import make_lora
from tests.models.tiny_qwen2 import tiny_qwen2
from tests.ray.test_deploy import deploy, saas
from tests.servers.process import Process

pytestmark = [pytest.mark.ray, pytest.mark.engine]

MOST = 8


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    for name, seed in (("pirate", 1), ("poet", 2)):
        (folder / name).mkdir()
        make_lora(folder / name, seed)
    return folder


@pytest.fixture(scope="module", autouse=True)
def deployed(cluster: Manager, provider: Process, adapters: Path) -> Iterator[None]:
    """A model with adapters, and two of an API: one has the alias that the model with an adapter would have."""
    params = {"enable_lora": "true", "allowed_lora_path": str(adapters), "temperature": "0", "max_tokens": str(MOST)}
    spec = DeploySpec(
        model="tiny", infer_backend="transformers", model_path=str(tiny_qwen2()), infer_params=params,
        cpus_per_worker=0.001, check=True,
    )  # fmt: skip
    deploy(cluster, spec)
    for alias in ("tiny:poet", "gpt"):
        deploy(cluster, saas(provider, alias))
    yield
    for alias in ("tiny", "tiny:poet", "gpt"):
        cluster.run(cluster.undeploy(UndeploySpec(model=alias, force=True)))


def answer(name: str, **more: Any) -> str:
    return bz.model(name).chat("Hello", **more).text


def test_name_after_a_colon_is_the_adapter() -> None:
    assert answer("tiny:pirate") == answer("tiny", lora="pirate") != answer("tiny")
    assert "".join(chunk.text for chunk in bz.model("tiny:pirate").stream("Hello")) == answer("tiny:pirate")
    assert bz.model("tiny:pirate").stat().model == "tiny"


def test_alias_with_a_colon_is_an_alias(adapters: Path) -> None:
    assert answer("tiny:poet") == "Echo: Hello"
    assert answer("tiny", lora="poet") != "Echo: Hello"


def test_llm_config_of_byzer_llm_chooses_an_adapter(adapters: Path) -> None:
    llm = ByzerLLM()
    asked = {"conversations": [{"role": "user", "content": "Hello"}]}
    config = {"adapter_name_or_path": str(adapters / "pirate"), "lora_name": "pirate", "gen.max_tokens": MOST}
    by_config = llm.chat_oai(model="tiny", llm_config=config, **asked)[0].output
    assert by_config == llm.chat_oai(model="tiny:pirate", **asked)[0].output == answer("tiny:pirate")


def test_endpoint_serves_adapters_by_name(cluster: Manager) -> None:
    with (
        running(cluster) as endpoint,
        openai.OpenAI(base_url=f"{endpoint.url}/v1", api_key="none", max_retries=0) as client,
    ):
        asked: Any = {"messages": [{"role": "user", "content": "Hello"}]}
        found = client.chat.completions.create(model="tiny:pirate", **asked)
        assert (found.model, found.choices[0].message.content) == ("tiny:pirate", answer("tiny:pirate"))
        assert client.chat.completions.create(model="tiny:poet", **asked).choices[0].message.content == "Echo: Hello"
        with pytest.raises(openai.NotFoundError, match="Did you mean tiny:pirate"):
            client.chat.completions.create(model="tinny:pirate", **asked)


def test_shell_asks_an_adapter(shell: Shell) -> None:
    done = shell("query", "--model", "tiny:pirate", "--query", "Hello")
    assert (done.returncode, done.stdout.strip()) == (0, answer("tiny:pirate").strip())
    wrong = shell("query", "--model", "tiny:pirat", "--query", "Hello")
    assert wrong.returncode != 0
    assert "Did you mean pirate?" in wrong.stderr


def test_wrong_names_are_errors(cluster: Manager) -> None:
    with pytest.raises(errors.NotDeployed) as caught:
        answer("tinny:pirate")
    assert "Did you mean tiny:pirate?" in caught.value.hint
    with pytest.raises(errors.Unsupported, match="takes no LoRA adapters"):
        answer("gpt:pirate")
    with pytest.raises(errors.CommandError, match="chooses the LoRA adapter 'pirate'"):
        answer("tiny:pirate", lora="poet")
    with pytest.raises(errors.NotDeployed):
        list(cluster.iterate(cluster.scale(ScaleSpec(model="tiny:pirate", num_workers=2))))
