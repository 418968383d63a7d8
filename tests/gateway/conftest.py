"""One endpoint for the tests here: `byzerllm serve` as a process, in front of deployments on a private Ray."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec, UndeploySpec
from tests.conftest import KEY
from tests.servers.process import Process, own

SERVE = "import sys; from byzer_magic.cli import main; sys.exit(main())"
CLAUDE_KEY = "sk-ant-planted-7d1c"
OPENAI = {
    "gpt": "gpt-4o",
    "emb": "text-embedding-3-small",
    "stt": "whisper-1",
    "tts": "tts-1",
    "paint": "gpt-image-1.5",
    "rank": "bge-reranker-v2-m3",
}
"""The deployments behind OpenAI's API, and their models."""


def serve(*words: str, env: dict[str, str] | None = None) -> Process:
    """Return an endpoint of its own, as a user starts it."""
    return Process([sys.executable, "-c", SERVE, "serve", "--port", "{port}", *words], env=env)


def specs(provider: Process, claude: Process, gguf: Path) -> Iterator[DeploySpec]:
    """Yield what the tests ask."""
    for alias, model in OPENAI.items():
        params = {"saas.base_url": f"{provider.url}/v1", "saas.api_key": KEY, "saas.model": model}
        yield DeploySpec(
            model=alias, pretrained_model_type="saas/openai", infer_params=params, worker_concurrency=20,
            cpus_per_worker=0.001,
        )  # fmt: skip
    params = {"saas.base_url": claude.url, "saas.api_key": CLAUDE_KEY, "saas.model": "claude-sonnet-5-5"}
    yield DeploySpec(
        model="claude", pretrained_model_type="saas/claude", infer_params=params, worker_concurrency=20,
        cpus_per_worker=0.001,
    )  # fmt: skip
    yield DeploySpec(
        model="llama", infer_backend="llama_cpp", model_path=str(gguf), cpus_per_worker=0.001,
        infer_params={"driver": "xllamacpp", "n_threads": "1", "n_ctx": "1024"},
    )  # fmt: skip


async def _deploy(manager: Manager, spec: DeploySpec) -> None:
    async for _event in manager.deploy(manager.plan(spec)):
        pass


@pytest.fixture(scope="package")
def deployed(cluster: Manager, provider: Process, gguf: Path) -> Iterator[Manager]:
    """The manager of a cluster with one deployment of each kind."""
    with own("claude", CLAUDE_KEY) as claude:
        found = list(specs(provider, claude, gguf))

        async def all_of_them() -> None:
            await asyncio.gather(*(_deploy(cluster, spec) for spec in found))

        cluster.run(all_of_them())
        yield cluster
        for spec in found:
            cluster.run(cluster.undeploy(UndeploySpec(model=spec.model, force=True)))


@pytest.fixture(scope="package")
def endpoint(deployed: Manager, ray_env: dict[str, str]) -> Iterator[Process]:
    """`byzerllm serve` without a key, in front of them."""
    with ExitStack() as stack:
        yield stack.enter_context(serve(env=ray_env))


@pytest.fixture
def openai(endpoint: Process) -> Any:
    """OpenAI's SDK, as its users write it."""
    import openai as sdk

    with sdk.OpenAI(base_url=f"{endpoint.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic(endpoint: Process) -> Any:
    """Anthropic's SDK, as its users write it."""
    import anthropic as sdk

    with sdk.Anthropic(base_url=endpoint.url, api_key="none", max_retries=0) as client:
        yield client
