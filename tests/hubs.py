"""Repositories for the hub of the tests (`tests/servers/hub.py`): small, and one that is large enough to interrupt."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

from tests.models.gguf_qwen2 import qwen2_gguf
from tests.models.tiny_qwen2 import tiny_qwen2

TOKEN = "hf_planted7b1c0de5ec2e7"
"""The key of the gated and the private repository; no output may contain it."""
BIG = 3_000_000
"""Bytes of the file that is interrupted: more than is read at once."""
OWN = ("HF_", "HUGGINGFACE_", "MODELSCOPE_")
"""How variables begin that move hubs and their caches."""


def make(root: Path) -> None:
    """Fill a folder with repositories."""
    folder = root / "byzer" / "tiny-qwen2"
    shutil.copytree(tiny_qwen2(), folder)
    (folder / "README.md").write_text("tiny")
    (folder / "pytorch_model.bin").write_bytes(b"\0" * 20_000)
    folder = root / "byzer" / "tiny-GGUF"
    folder.mkdir()
    shutil.copy(qwen2_gguf(), folder / "tiny-Q8_0.gguf")
    folder = root / "Qwen" / "Qwen3-0.6B-GGUF"  # those of the documentation have names that readers know
    folder.mkdir(parents=True)
    for quantization in ("Q4_K_M", "Q8_0"):
        shutil.copy(qwen2_gguf(), folder / f"Qwen3-0.6B-{quantization}.gguf")
    shutil.copytree(tiny_qwen2(), root / "Qwen" / "Qwen3-0.6B")
    for name, mark in (("big-GGUF", ""), ("gated", ".gated"), ("private", ".private"), ("changing", "")):
        folder = root / "byzer" / name
        folder.mkdir()
        if mark:
            (folder / mark).touch()
        (folder / "big-Q4_0.gguf").write_bytes(b"GGUF" + random.Random(name).randbytes(BIG - 4))
        (folder / "config.json").write_text("{}")


def environ(url: str, home: Path) -> dict[str, str]:
    """Return the environment of a user whose caches are in a folder, and who has the hub of the tests as a mirror."""
    plain = {name: text for name, text in os.environ.items() if not name.startswith(OWN)}
    return plain | {
        "HF_ENDPOINT": url, "HF_HOME": str(home / "hf"), "HF_HUB_DOWNLOAD_TIMEOUT": "2",
        "MODELSCOPE_ENDPOINT": url, "MODELSCOPE_CACHE": str(home / "ms"), "MODELSCOPE_HOME": str(home / "ms-home"),
        "MODELSCOPE_DOWNLOAD_INTRA_CLOUD": "false", "MODELSCOPE_DOWNLOAD_MAX_RETRIES": "1",
        "MODELSCOPE_API_MAX_RETRIES": "0", "MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS": "1",
    }  # fmt: skip
