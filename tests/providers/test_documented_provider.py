"""The example of CONTRIBUTING.md beyond errors, which `test_every_provider` covers: it is found, typed, and answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.types import Usage
from tests.backends import ask, collect, opened, text_of, until_error
from tests.conftest import KEY
from tests.servers import process

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(serving: Callable[..., process.Process]) -> process.Process:
    return serving("json_lines", KEY)


@pytest.fixture
async def backend(server: process.Process, documented_provider: Path) -> AsyncIterator[Any]:
    params = {"saas.base_url": server.url, "saas.api_key": KEY, "saas.model": "tiny"}
    backend = await opened("saas/json_lines", params)
    yield backend
    await backend.close()


async def test_documented_provider_answers_with_finish_and_usage(backend: Any) -> None:
    chunks = await collect(backend, ask('say "error" twice', temperature=0))
    assert text_of(chunks) == 'Echo: say "error" twice '
    assert (chunks[-1].finish, chunks[-1].usage) == ("stop", Usage(7, 4))


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("error", errors.ProviderUnavailable, "server error for tiny (500): the model crashed"),
        ("schema", errors.ProviderUnavailable, "unreadable response from tiny: it has no `done`"),
    ],
)
async def test_documented_provider_raises_errors_of_single_lines(
    backend: Any, fault: str, kind: type[Exception], words: str
) -> None:
    seen, error = await until_error(backend.chat(ask(f"fault:{fault} some words")))
    assert type(error) is kind
    assert words in error.message
    assert text_of(seen) == "Echo: "


async def test_documented_provider_disconnects_when_closed(backend: Any, server: process.Process) -> None:
    before = process.received(server)
    answer = backend.chat(ask("many words " * 1000))
    await anext(answer)
    await answer.aclose()
    async for _ in backend.chat(ask("hi")):
        pass
    assert any("gone" in entry for entry in process.noted_after(server, before))


def test_documented_provider_is_one_of_the_kinds(documented_provider: Path) -> None:
    assert "saas/json_lines" in registry.kinds()


def test_documented_row_is_in_the_table() -> None:
    row = 'Case("saas/json_lines", "json_lines", "base_url={url} api_key={key} model=tiny"),'
    assert row in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert row in (ROOT / "tests/providers/test_every_provider.py").read_text(encoding="utf-8")


def test_documented_provider_passes_the_linter(documented_provider: Path) -> None:
    code = documented_provider.read_text(encoding="utf-8")
    place = "byzer_magic/backends/saas/json_lines.py"
    command = [sys.executable, "-m", "ruff", "check", "--stdin-filename", place, "-"]
    done = subprocess.run(command, input=code, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout
