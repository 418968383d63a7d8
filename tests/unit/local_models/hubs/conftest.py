"""A hub with small repositories, and an environment whose caches are empty."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.tiny_qwen2 import tiny_qwen2
from tests.servers.process import Process, hub as started

TOKEN = "hf_planted7b1c0de5ec2e7"
"""The key of the gated and the private repository; no output may contain it."""
BIG = 3_000_000
"""Bytes of the file that is interrupted: more than is read at once."""


def _made(root: Path) -> None:
    folder = root / "byzer" / "tiny-qwen2"
    shutil.copytree(tiny_qwen2(), folder)
    (folder / "README.md").write_text("tiny")
    (folder / "pytorch_model.bin").write_bytes(b"\0" * 20_000)
    for name, mark in (("big-GGUF", ""), ("gated", ".gated"), ("private", ".private"), ("changing", "")):
        folder = root / "byzer" / name
        folder.mkdir()
        if mark:
            (folder / mark).touch()
        (folder / "big-Q4_0.gguf").write_bytes(b"GGUF" + random.Random(name).randbytes(BIG - 4))
        (folder / "config.json").write_text("{}")


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repositories")
    _made(root)
    return root


@pytest.fixture(scope="session")
def running_hub(repositories: Path) -> Iterator[Process]:
    with started(repositories, TOKEN) as server:
        yield server


@pytest.fixture
def hub(running_hub: Process) -> Process:
    running_hub.post("/faults", {})
    return running_hub


@pytest.fixture
def environ(hub: Process, tmp_path: Path) -> dict[str, str]:
    """The environment of a user with empty caches and a mirror."""
    plain = {name: text for name, text in os.environ.items() if not name.startswith(("HF_", "MODELSCOPE_"))}
    return plain | {
        "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DOWNLOAD_TIMEOUT": "2",
        "MODELSCOPE_ENDPOINT": hub.url, "MODELSCOPE_CACHE": str(tmp_path / "ms"),
        "MODELSCOPE_HOME": str(tmp_path / "ms-home"), "MODELSCOPE_DOWNLOAD_INTRA_CLOUD": "false",
        "MODELSCOPE_DOWNLOAD_MAX_RETRIES": "1", "MODELSCOPE_API_MAX_RETRIES": "0",
        "MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS": "1",
    }  # fmt: skip
