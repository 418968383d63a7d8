"""`Test connection`: one small real request, to a provider that counts them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from byzer_magic import errors
from byzer_magic.client import probe
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.plan import Plan
from tests.conftest import KEY
from tests.servers.process import Process, openai_api


def plan(url: str, model: str, key: str = KEY, **more: str) -> Plan:
    params = {"saas.base_url": url, "saas.api_key": key, "saas.model": model}
    params |= {f"saas.{name}": text for name, text in more.items()}
    return Manager().plan(DeploySpec(model="a", pretrained_model_type="saas/openai", infer_params=params))


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    with openai_api(KEY, "text-embedding-3-small,whisper-1,tts-1,bge-reranker-v2-m3") as running:
        yield running


@pytest.mark.parametrize(
    ("model", "capability"),
    [
        ("gpt-4o", "chat"),
        ("text-embedding-3-small", "embed"),
        ("whisper-1", "transcribe"),
        ("tts-1", "speak"),
        ("bge-reranker-v2-m3", "rerank"),
    ],
)
async def test_probe_sends_the_cheapest_request(server: Process, model: str, capability: str) -> None:
    found = await probe.ask(plan(f"{server.url}/v1", model))
    assert (found.capability, found.asked) == (capability, True)
    assert found.seconds > 0


async def test_probe_does_not_generate_images(provider: Process) -> None:
    found = await probe.ask(plan(f"{provider.url}/v1", "dall-e-3"))
    assert (found.capability, found.asked) == ("image", False)


async def test_wrong_key_is_in_no_text(provider: Process) -> None:
    wrong = "planted-wrong-key-3141"
    with pytest.raises(errors.AuthenticationFailed) as caught:
        await probe.ask(plan(f"{provider.url}/v1", "gpt-4o", wrong))
    assert wrong not in str(caught.value)


async def test_connection_that_is_closed_fails_without_retries() -> None:
    tries = 0

    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(errors.ProviderUnavailable):
            await probe.ask(plan(f"http://127.0.0.1:{port}/v1", "gpt-4o", max_retries="5"))
    assert tries == 1


async def test_unknown_model_raises_provider_error(provider: Process) -> None:
    with pytest.raises(errors.ProviderError):
        await probe.ask(plan(f"{provider.url}/v1", "gpt-nonsense"))


async def test_probe_has_a_deadline(provider: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "DEADLINE_SECONDS", 0.0)
    with pytest.raises(errors.DeadlineExceeded):
        await probe.ask(plan(f"{provider.url}/v1", "gpt-4o"))
