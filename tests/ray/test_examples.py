"""The examples in the docstrings of the Python API run, against deployments of the test provider."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import byzer_magic as bz
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec, UndeploySpec
from tests.conftest import KEY
from tests.servers.audio_files import wav
from tests.servers.process import Process
from tests.shape.test_examples import WITH_DEPLOYMENTS

pytestmark = pytest.mark.ray

MODELS = {
    "gpt4o_chat": "gpt-4o",
    "bge": "text-embedding-3-small",
    "reranker": "bge-reranker-v2-m3",
    "whisper": "whisper-1",
    "tts": "tts-1",
    "dalle": "dall-e-3",
}
"""The aliases in the examples, and their deployments here."""


@pytest.fixture(scope="module")
def deployed(cluster: Manager, provider: Process) -> Iterator[None]:
    for alias, model in MODELS.items():
        params = {"saas.base_url": f"{provider.url}/v1", "saas.api_key": KEY, "saas.model": model}
        spec = DeploySpec(
            model=alias, pretrained_model_type="saas/openai", infer_params=params, cpus_per_worker=0.001, replace=True
        )
        list(cluster.iterate(cluster.deploy(cluster.plan(spec))))
    yield
    for alias in cluster.run(cluster.aliases()):
        cluster.run(cluster.undeploy(UndeploySpec(model=alias, force=True)))


@pytest.mark.parametrize("name", sorted(WITH_DEPLOYMENTS))
def test_examples_of_the_python_api_run(
    deployed: None, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)  # deploying sends nothing yet
    (tmp_path / "talk.m4a").write_bytes(wav("hi", 16_000))
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    done = doctest.testmod(importlib.import_module(name), extraglobs={"bz": bz}, optionflags=flags)
    assert done.attempted
    assert done.failed == 0
