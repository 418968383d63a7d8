"""Every provider's client before a server that tries to fill its memory or to keep its event loop for itself."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends.http import received
from byzer_magic.backends.http.terms import Terms
from byzer_magic.capabilities import TABLE
from byzer_magic.media import wav
from byzer_magic.types import (
    ChatRequest,
    EmbedRequest,
    ImageRequest,
    Media,
    RerankRequest,
    SpeakRequest,
    TranscribeRequest,
)
from tests.backends import opened
from tests.providers.test_every_provider import CASES, Case, check_text
from tests.servers import process
from tests.servers.hostile import ATTACKS

PROVIDERS = [
    case for case in CASES if case.key and case.kind not in ("saas/groq", "saas/azure_openai", "saas/qianwen_vl")
]
"""One of each client."""
FEW = ("endless", "gzip", "gzip-events", "headers", "deep", "digits-error", "endless-error", "slow-error")
"""Attacks on the clients that share their reading with another."""
ALL_OF = "saas/openai"
MORE_MB = 150
"""How much memory an attack may take; without limits it would be all there is."""
BLOCKED_SECONDS = 1.0
"""CPU time that no other request may wait for; usually it is a twentieth."""
SAID = {
    "digits-error": "too many digits",
    "word": "not an image",
    "endless-error": "it is full",
    "gzip-error": "it is full",
    "slow-error": "it is full",
}
"""What of an attack is a reason that a user must read."""


@pytest.fixture(scope="module")
def server() -> Iterator[process.Process]:
    with process.own("hostile") as running:
        yield running


@pytest.fixture(autouse=True)
def _smaller() -> Iterator[None]:
    """Make the limits smaller, so that they are reached sooner."""
    limits = (received.STREAM, received.BODY, received.ANSWER, received.IMAGES, received.AUDIO, received.ERROR)
    before = [(limit, limit.size, limit.seconds) for limit in limits]
    for limit in limits:
        object.__setattr__(limit, "size", min(limit.size, 16 * received.MIB))
    object.__setattr__(received.ERROR, "seconds", 0.5)
    yield
    for limit, size, seconds in before:
        object.__setattr__(limit, "size", size)
        object.__setattr__(limit, "seconds", seconds)


def peak_mb() -> int:
    """Return the most memory that this process has had since `clear_refs`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


@asynccontextmanager
async def bounded(name: str) -> AsyncIterator[None]:
    """Check, while the block lasts, that the event loop goes on, and that the memory is bounded."""
    longest, is_over = 0.0, False

    async def watch() -> None:
        nonlocal longest
        last = time.process_time()  # not by the clock: others may use the CPU
        while not is_over:
            await asyncio.sleep(0.005)
            now = time.process_time()
            longest, last = max(longest, now - last), now

    gc.collect()
    gc.freeze()  # SDKs have very many objects: the next test need not look at them again
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before = peak_mb()
    watching = asyncio.create_task(watch())
    yield
    is_over = True
    await watching
    assert longest < BLOCKED_SECONDS, f"{name}: nothing else moved for {longest:.1f} s of CPU time"
    assert peak_mb() - before < MORE_MB, f"{name}: {peak_mb() - before} MB more"


async def refused(case: Case, url: str, request: Any = None, *, stream: bool = True) -> errors.ByzerError:
    """Return the error with which a request ends: a chat, or what the case is for, if none is given."""
    given = case.params.format(url=url, key=case.key) + " timeout=20 max_retries=0"
    given += " capabilities=chat,embed,rerank,image,transcribe,speak" if case.kind == ALL_OF else ""
    backend = await opened(case.kind, {f"saas.{name}": text for name, _, text in map(_pair, given.split())})
    request = request or case.request("hello")
    if not stream:
        backend._agreement.known = Terms(stream=False)

    async def ask() -> Any:
        async with aclosing(getattr(backend, METHODS.get(type(request), "chat"))(request)) as answer:
            return [item async for item in answer]

    try:
        with pytest.raises(errors.ByzerError) as caught:
            async with asyncio.timeout(60):
                await ask()
    finally:
        await backend.close()
    return caught.value


METHODS = {row.request: name.value for name, row in TABLE.items() if row.request is not ChatRequest}
OTHERS = [
    EmbedRequest(texts=["hello"]),
    RerankRequest(query="hello", documents=["a", "b"]),
    ImageRequest(prompt="a cat"),
    SpeakRequest(text="hello"),
    TranscribeRequest(audio=Media("audio/wav", wav.write(bytes(range(100)) * 4, rate=8000))),
]
"""Requests whose responses are no chats."""


def _pair(word: str) -> tuple[str, str, str]:
    return word.partition("=")


@pytest.mark.usefixtures("documented_provider")
@pytest.mark.parametrize(
    ("case", "attack"),
    [
        pytest.param(case, attack, id=f"{case.name}-{case.params.split()[-1]}-{attack}")
        for case in PROVIDERS
        for attack in (ATTACKS if case.kind == ALL_OF else FEW)
    ],
)
async def test_whatever_a_provider_sends_is_bounded(case: Case, server: process.Process, attack: str) -> None:
    async with bounded(f"{case.name} {attack}"):
        error = await refused(case, f"{server.url}/{attack}")
    assert isinstance(error, errors.ProviderError)
    assert len(error.message) < 1000
    check_text(error, case)
    if attack in SAID and case.kind != "saas/aws_bedrock":  # boto3 reads only the bodies of its protocol
        assert SAID[attack] in error.message


@pytest.mark.usefixtures("documented_provider")
@pytest.mark.parametrize("attack", ["gzip", "lists", "deep", "word"])
@pytest.mark.parametrize("request_", OTHERS, ids=lambda request: type(request).__name__)
async def test_responses_that_are_no_chats_are_bounded(request_: Any, server: process.Process, attack: str) -> None:
    case = next(case for case in PROVIDERS if case.kind == ALL_OF)
    async with bounded(f"{type(request_).__name__} {attack}"):
        error = await refused(case, f"{server.url}/{attack}", request_)
    assert isinstance(error, errors.ProviderError)
    assert len(error.message) < 1000
    check_text(error, case)
    assert SAID.get(attack, "") in error.message


@pytest.mark.usefixtures("documented_provider")
@pytest.mark.parametrize("attack", ["endless", "lists", "keys", "deep", "digits", "deep-error"])
@pytest.mark.parametrize("case", [case for case in PROVIDERS if case.kind == "saas/aws_bedrock"], ids=["bedrock"])
async def test_complete_responses_that_an_sdk_reads_are_bounded(
    case: Case, server: process.Process, attack: str
) -> None:
    async with bounded(f"{case.name} {attack}"):
        error = await refused(case, f"{server.url}/{attack}", stream=False)
    assert isinstance(error, errors.ProviderError)
    check_text(error, case)
