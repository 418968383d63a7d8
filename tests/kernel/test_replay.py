"""The notebook about replaying, as its readers and CI run it: no provider, no key, no network, and no Ray to import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from byzer_magic.journal import tape
from tests import tapes
from tests.kernel.conftest import ROOT

pytestmark = pytest.mark.kernel

NOTEBOOK = ROOT / "notebooks" / "05_replay.ipynb"
NOTHING = """
import socket, sys

class NoRay:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ray":
            raise ImportError("there is no Ray")

def no_network(self, address):
    raise OSError(f"no network: {address}")

sys.meta_path.insert(0, NoRay())
socket.socket.connect = socket.socket.connect_ex = no_network
"""


def test_the_tape_has_what_the_notebook_asks() -> None:
    assert tapes.NOTEBOOK.read_bytes() == b"".join(tape.lines(tapes.of_notebook())), "run: python -m tests.tapes"


def test_notebook_is_replayed_without_models_keys_network_and_ray(tmp_path: Path) -> None:
    folder = tmp_path / "published"
    folder.mkdir()
    shutil.copy(tapes.NOTEBOOK, folder / "tape.jsonl")
    (tmp_path / "sitecustomize.py").write_text(NOTHING)
    book = nbformat.read(NOTEBOOK, as_version=4)
    book.cells = [cell for cell in book.cells if "%byzer replay 05" not in cell.source]  # the variable says it
    more = nbformat.v4.new_code_cell("%byzer replay\n%byzer stat\nimport ray", metadata={"tags": ["raises-exception"]})
    book.cells.insert(-1, more)
    nbformat.write(book, folder / "notebook.ipynb")
    env = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    env |= {
        "BYZER_REPLAY": "published/tape.jsonl", "BYZER_REPLAY_SPEED": "0", "PWD": str(tmp_path), "LANG": "C.UTF-8",
        "PYTHONPATH": f"{tmp_path}:{ROOT}", "IPYTHONDIR": str(tmp_path / "ipython"),
        "BYZER_CONFIG": str(tmp_path / "config.toml"), "RAY_TMPDIR": str(tmp_path / "ray"),
    }  # fmt: skip
    command = [sys.executable, "-m", "jupyter", "execute", "--inplace", "published/notebook.ipynb"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    book = nbformat.read(folder / "notebook.ipynb", as_version=4)
    outputs = [str(cell.get("outputs")) for cell in book.cells if cell.cell_type == "code"]
    deployed, capital, columns, _noted, who, sound, flag, word, miss, state, _off = outputs[1:]
    assert [f"{alias}: not deployed" in deployed for alias in ("assistant", "second", "speaker", "painter")] == [
        True
    ] * 4
    assert "<strong>Paris</strong>" in capital
    assert "replayed, recorded 2023-11-14 · TTFT 0.40 s" in capital
    assert "Paris." in columns
    assert "You are Ada" in who
    assert "data:audio/wav;base64," in sound
    assert "data:image/png;base64," in flag
    assert "'Paris'" in word
    assert "-messages[0].content: The capital of France in one word" in miss
    assert "recordings of assistant, painter, second, speaker" in state
    assert "there is no Ray" in state, "so the kernel could not use it"
    assert not (tmp_path / "ray").exists()
