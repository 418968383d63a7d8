"""Clients that others wrote, in a process with their own packages: the checks are in `clients/`.

One process for all of them: each would otherwise import the SDKs of OpenAI and Anthropic again, and build their types.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from byzer_magic.client.manager import Manager
from tests.gateway.conftest import serve
from tests.models.tiny_qwen2 import tiny_qwen2
from tests.servers.process import Process

pytestmark = [pytest.mark.ray, pytest.mark.engine, pytest.mark.timeout(600)]

FOLDER = Path(__file__).parent / "clients"
CHECKS = sorted(FOLDER.glob("with_*.py"))
PYTHON = Path(sys.prefix) / "clients" / "bin" / "python"
KEY = "sk-of-the-endpoint-3e8f"


@pytest.fixture(scope="module")
def closed(deployed: Manager, ray_env: dict[str, str]) -> Iterator[Process]:
    """An endpoint that asks for a key."""
    with serve("--api_key", KEY, env=ray_env) as own:
        yield own


@pytest.fixture(scope="module")
def env(closed: Process, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a client's user, who has nothing but a home and the endpoint."""
    home = tmp_path_factory.mktemp("home")
    authorities = home / "authorities.pem"
    trustme.CA().cert_pem.write_to_path(str(authorities))
    return {
        "PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "ENDPOINT_URL": closed.url,
        "ENDPOINT_KEY": KEY, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "HF_HUB_OFFLINE": "1", "TOKENIZER": str(tiny_qwen2()),
        "SSL_CERT_FILE": str(authorities),  # each client reads all it finds: 150 take 40 ms, and none is needed
    }  # fmt: skip


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What the checks that this run has selected have come to: a line for each of their tests."""
    assert PYTHON.exists(), "the clients are not installed; run: make clients"
    found = [getattr(item, "callspec", None) for item in request.session.items if item.path == request.path]
    return run(PYTHON, *(spec.params["check"] for spec in found if spec), env=env)


@pytest.mark.parametrize("check", CHECKS, ids=lambda path: path.stem.removeprefix("with_"))
def test_client(check: Path, results: subprocess.CompletedProcess[str]) -> None:
    said = re.findall(rf"^([A-Z]+) {re.escape(check.name)}\b", results.stdout, re.MULTILINE)
    assert {*said} == {"PASSED"}, results.stdout + results.stderr


def test_newest_sdk_of_anthropic(env: dict[str, str]) -> None:
    """Clients above keep to an earlier one, as to OpenAI's."""
    done = run(Path(sys.executable), FOLDER / "with_anthropic.py", env=env)
    assert done.returncode == 0, done.stdout + done.stderr


def run(python: Path, *checks: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run checks in a process with the packages of `python`."""
    options = (
        "-q", "-rA", "--show-capture=no", "--tb=short", "-c", os.devnull, "--rootdir", FOLDER, "--noconftest",
        "-p", "no:cacheprovider",
    )  # fmt: skip
    command = [python, "-m", "pytest", *options, *checks]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=FOLDER, check=False)
