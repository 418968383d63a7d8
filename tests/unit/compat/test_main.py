"""`python -m byzer_magic.compat`: programs written for byzer-llm run as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from byzer_magic import compat

ROOT = Path(compat.__file__).parents[2]
PROGRAM = "import sys, byzerllm, helper\nprint(byzerllm.ByzerLLM.__name__, sys.argv[1:], helper.NAME, __name__)\n"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "byzer_magic.compat", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=folder)


@pytest.mark.parametrize("words", [("app/main.py",), ("-m", "app.main")])
def test_program_finds_byzerllm_its_arguments_and_its_neighbours(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "app").mkdir()
    for folder in (tmp_path, tmp_path / "app"):
        (folder / "helper.py").write_text(f"NAME = {folder.name == 'app'!r}\n", encoding="utf-8")
    (tmp_path / "app" / "main.py").write_text(PROGRAM, encoding="utf-8")
    done = run(tmp_path, *words, "--model", "x")
    assert done.stdout == f"ByzerLLM ['--model', 'x'] {len(words) == 1} __main__\n", done.stderr


@pytest.mark.parametrize("words", [(), ("-m",), ("--help",)])
def test_usage_is_shown_where_there_is_no_program(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = run(tmp_path, *words)
    assert done.returncode == 1
    assert "SCRIPT" in done.stderr
