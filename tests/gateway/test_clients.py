"""Clients that others wrote, each in a process of its own with its own packages: the checks are in `clients/`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from byzer_magic.client.manager import Manager
from tests.gateway.conftest import serve
from tests.models.tiny_qwen2 import tiny_qwen2
from tests.servers.process import Process

pytestmark = [pytest.mark.ray, pytest.mark.engine]

FOLDER = Path(__file__).parent / "clients"
CHECKS = sorted(FOLDER.glob("with_*.py"))
PYTHON = Path(sys.prefix) / "clients" / "bin" / "python"
KEY = "sk-of-the-endpoint-3e8f"


@pytest.fixture(scope="module")
def closed(deployed: Manager, ray_env: dict[str, str]) -> Iterator[Process]:
    """An endpoint that asks for a key."""
    with serve("--api_key", KEY, env=ray_env) as own:
        yield own


@pytest.fixture
def env(closed: Process, tmp_path: Path) -> dict[str, str]:
    """The environment of a client's user, who has nothing but a home and the endpoint."""
    return {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8", "ENDPOINT_URL": closed.url,
        "ENDPOINT_KEY": KEY, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "HF_HUB_OFFLINE": "1", "TOKENIZER": str(tiny_qwen2()),
    }  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda path: path.stem.removeprefix("with_"))
def test_client(check: Path, env: dict[str, str]) -> None:
    assert PYTHON.exists(), "the clients are not installed; run: make clients"
    passes(PYTHON, check, env)


def test_newest_sdk_of_anthropic(env: dict[str, str]) -> None:
    """Clients above keep to an earlier one, as to OpenAI's."""
    passes(Path(sys.executable), FOLDER / "with_anthropic.py", env)


def passes(python: Path, check: Path, env: dict[str, str]) -> None:
    options = ("-q", "--tb=short", "-c", os.devnull, "--rootdir", FOLDER, "--noconftest", "-p", "no:cacheprovider")
    done = subprocess.run(
        [python, "-m", "pytest", *options, check], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
