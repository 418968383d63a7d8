"""A model in a hub, from the command to the answer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from byzer_magic.client.manager import Manager
from tests import hubs
from tests.conftest import Shell
from tests.servers.process import Process

pytestmark = pytest.mark.ray
TINY = "hf:byzer/tiny-GGUF"


def test_model_in_a_hub_is_deployed_answers_and_is_kept_as_typed(
    hub: Process, shell: Shell, manager: Manager, tmp_path: Path
) -> None:
    shell.env |= hubs.environ(hub.url, tmp_path) | {name: os.environ[name] for name in ("RAY_TMPDIR", "BYZER_CONFIG")}
    params = ("--infer_params", "driver=xllamacpp", "n_ctx=256", "max_tokens=4")
    done = shell("deploy", "--model_path", TINY, "--model", "tiny", *params)
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    fetched = next(number for number, line in enumerate(told) if line.startswith("tiny: downloaded 286 kB in "))
    assert "tiny: downloading 1 file from Hugging Face" in "".join(told[:fetched])
    assert "tiny: ready in " in told[-1]
    answer = shell("query", "--model", "tiny", "--query", "hello")
    assert answer.returncode == 0, answer.stderr
    stat = manager.run(manager.stat("tiny"))
    assert stat.title == TINY
    entry = next(entry for entry in manager.run(manager.fleet()).entries if entry.alias == "tiny")
    assert entry.spec
    assert entry.spec.model_path == TINY
    refused = shell("models", "rm", TINY)
    assert refused.returncode == 2
    assert "is in use: tiny" in refused.stderr
