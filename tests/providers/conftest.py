"""Servers that the provider tests talk to, one process each for the whole run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import KEY
from tests.servers import process

FIXTURES = Path(__file__).parent / "aimock.json"


@pytest.fixture(scope="session")
def key() -> str:
    return KEY


@pytest.fixture(scope="session")
def aimock() -> Iterator[process.Process]:
    with process.aimock(FIXTURES, keys=KEY) as server:
        yield server


@pytest.fixture(scope="session")
def llama_server(gguf: Path) -> Iterator[process.Process]:
    with process.llama_server(gguf) as server:
        yield server
