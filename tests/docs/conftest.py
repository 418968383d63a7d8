"""One kernel, one folder and the test servers for all pages."""

from __future__ import annotations

import math
import os
import sys
import wave
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from byzer_magic.client.manager import Manager
from tests import hubs
from tests.conftest import KEY
from tests.docs.pages import ROOT
from tests.docs.redirect import EXPORTED, Redirect
from tests.kernel.conftest import Kernel, loaded
from tests.models.bge import bge
from tests.models.sensevoice import sensevoice
from tests.models.speech import voice
from tests.models.tiny_qwen2 import tiny_qwen2
from tests.models.whisper import tiny_en
from tests.servers.process import Process


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Path:
    """The folder used as /models: the tests' small models under the names that the pages use."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "SmolLM2-135M-Instruct.gguf").symlink_to(gguf)
    (folder / "Qwen2-Chat").symlink_to(tiny_qwen2())
    (folder / "bge-small").symlink_to(bge())
    (folder / "whisper-tiny.en").symlink_to(tiny_en())
    (folder / "SenseVoiceSmall").symlink_to(sensevoice())
    (folder / "voice.onnx").symlink_to(voice())
    (folder / "voice.onnx.json").symlink_to(voice().with_suffix(".onnx.json"))
    return folder


@pytest.fixture(scope="module")
def redirect(models: Path) -> Iterator[Redirect]:
    with ExitStack() as running:
        yield Redirect(running, models)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notebook's folder, with the files that the pages name."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("docs")
    Image.new("RGB", (64, 48), "steelblue").save(folder / "photo.png")
    with wave.open(str(folder / "talk.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        tone = (int(8000 * math.sin(n / 8)) for n in range(16000))
        file.writeframes(b"".join(sample.to_bytes(2, "little", signed=True) for sample in tone))
    return folder


@pytest.fixture(scope="module")
def page_env(ray_env: dict[str, str], folder: Path, running_hub: Process) -> dict[str, str]:
    """The environment of a user who has exported the keys, and whose mirror is the hub of the tests."""
    return {
        **ray_env,
        **{name: text for name, text in hubs.environ(running_hub.url, folder).items() if name.startswith(hubs.OWN)},
        **dict.fromkeys(EXPORTED, KEY),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(folder / "ipython"),
        "BYZER_CONFIG": str(folder / "own" / "config.toml"),
        "LANG": "C.UTF-8",
    }


@pytest.fixture(scope="module")
def kernel(cluster: Manager, page_env: dict[str, str], folder: Path) -> Iterator[Kernel]:
    with loaded(cluster, page_env, folder) as kernel:
        yield kernel
