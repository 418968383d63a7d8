"""`saas/azure_openai` against our strict OpenAI, which also has Azure's paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.types import EmbedRequest
from tests.backends import ask, collect, opened, refuse_streams, text_of
from tests.conftest import KEY
from tests.servers.process import Process, last


@pytest.fixture(scope="module")
def server(serving: Callable[..., Process]) -> Process:
    return serving("openai_api", KEY)


async def connect(server: Process, **params: str) -> Any:
    given = {"azure_endpoint": server.url, "api_key": KEY, "model": "gpt-4o", "max_retries": "0"} | params
    return await opened("saas/azure_openai", {f"saas.{name}": value for name, value in given.items() if value})


@pytest.mark.parametrize(
    "params",
    [
        {"api_version": "2024-02-15-preview", "azure_deployment": "gpt-4o-2024-05-13", "api_type": "azure"},
        {"api_version": "2024-10-21"},
        {"api_version": "v1", "azure_deployment": "my-gpt"},
        {},
        {"api_key": "", "azure_ad_token": KEY, "api_version": "2024-10-21"},
        {"api_key": "", "azure_ad_token": KEY},
    ],
    ids=["seed", "dated", "v1", "default", "token dated", "token v1"],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_version_and_deployment_select_the_path(server: Process, params: dict[str, str], stream: bool) -> None:
    backend = await connect(server, **params)
    if not stream:
        await refuse_streams(backend)
    assert text_of(await collect(backend, ask("hello"))) == "Echo: hello"
    path = last(server)["path"]
    deployment = params.get("azure_deployment", "gpt-4o")
    dated = params.get("api_version", "v1") != "v1"
    assert path == (f"/openai/deployments/{deployment}/chat/completions" if dated else "/openai/v1/chat/completions")
    await backend.close()


async def test_wrong_parameters_raise_our_errors(server: Process) -> None:
    for params, kind in (
        ({"api_key": "wrong-key-0123456789"}, errors.AuthenticationFailed),
        ({"api_version": "2024-10-21", "azure_deployment": "nobody"}, errors.ModelNotFound),
    ):
        backend = await connect(server, **params)
        with pytest.raises(kind):
            await collect(backend, ask("hello"))
        await backend.close()
    with pytest.raises(errors.BadParameter, match="a slash is missing") as slip:
        await connect(server, azure_endpoint="https:/xxx.openai.azure.com/")
    assert slip.value.hint == "Write saas.azure_endpoint=https://xxx.openai.azure.com/"
    with pytest.raises(errors.MissingKey, match="or saas"):
        await connect(server, api_key="")


async def test_embed_uses_the_deployment(server: Process) -> None:
    backend = await connect(server, model="text-embedding-3-small", azure_deployment="my-gpt", api_version="2024-10-21")
    [embeddings] = [item async for item in backend.embed(EmbedRequest(texts=["a", "b"]))]
    assert embeddings.rows == 2
    await backend.close()
