"""Servers that the provider tests talk to, one process each for the complete run."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from byzer_magic.backends import saas
from tests.conftest import KEY
from tests.servers import process

FIXTURES = Path(__file__).parent / "aimock.json"


@pytest.fixture(scope="session")
def key() -> str:
    return KEY


@pytest.fixture(scope="module")
def documented_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The example of CONTRIBUTING.md, as a file in a folder that `backends/saas` reaches to: `saas/json_lines`."""
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.search(r"`saas/json_lines\.py`.*?```python\n(.*?)```", text, re.DOTALL)
    assert found, "CONTRIBUTING.md has no example of a provider"
    file = tmp_path_factory.mktemp("saas") / "json_lines.py"
    file.write_text(found[1], encoding="utf-8")
    saas.__path__.append(str(file.parent))
    yield file
    saas.__path__.remove(str(file.parent))
    sys.modules.pop("byzer_magic.backends.saas.json_lines", None)


@pytest.fixture(scope="session")
def serving() -> Iterator[Callable[..., process.Process]]:
    """Starts a provider of ours that asks for a key, as `process.own` does; a second call returns the same one."""
    with ExitStack() as running:
        yield functools.cache(lambda name, key: running.enter_context(process.own(name, key)))


@pytest.fixture(scope="session")
def aimock() -> Iterator[process.Process]:
    with process.aimock(FIXTURES, keys=KEY) as server:
        yield server


@pytest.fixture(scope="session")
def llama_server(gguf: Path) -> Iterator[process.Process]:
    with process.llama_server(gguf) as server:
        yield server
