"""The layer contracts of `pyproject.toml` hold, and they bite: imports planted in a copy of the package break them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLANTED = {
    "client/connection.py": ("import ray", "Only runtime imports ray and websockets"),
    "commands/tokens.py": ("import websockets", "Only runtime imports ray and websockets"),
    "client/model.py": ("import openai", "Only backends import SDKs and engines"),
    "plan.py": ("import torch", "Only backends import SDKs and engines"),
    "results/results.py": ("import ipywidgets", "Only the notebook faces import IPython"),
    "rendering/progress.py": ("import byzer_magic.widgets.page", "Layers, downwards only"),
    "compat/llm.py": ("import byzer_magic.widgets.page", "Layers, downwards only"),
    "prompts/function.py": ("import byzer_magic.compat.llm", "Layers, downwards only"),
    "i18n/text.py": ("import byzer_magic.types", "Layers, downwards only"),
    "backends/saas/qianwen.py": ("import byzer_magic.backends.saas.azure", "Providers do not know each other"),
}
"""Where an import is planted, the import, and the contract that it breaks."""


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `lint-imports` on the package in `folder`."""
    program = Path(sys.executable).with_name("lint-imports")
    environ = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "400"}
    return subprocess.run(
        [str(program), "--no-cache"], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what `lint-imports` reports of a copy with all planted imports in it."""
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "byzer_magic", copy / "byzer_magic", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for name, (statement, _) in PLANTED.items():
        path = copy / "byzer_magic" / name
        path.write_text(f"{path.read_text(encoding='utf-8')}\n{statement}\n", encoding="utf-8")
    done = lint(copy)
    assert done.returncode == 1
    return done.stdout


def test_contracts_hold_for_the_package() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", PLANTED)
def test_contract_breaks_on_a_planted_import(planted: str, name: str) -> None:
    statement, contract = PLANTED[name]
    module = f"byzer_magic.{name.removesuffix('.py').replace('/', '.')}"
    report = planted.partition("Broken contracts")[2].partition(f"\n{contract}\n")[2]
    assert f"{module} -> {statement.removeprefix('import ')}" in report


def test_contracts_name_every_module_of_the_package() -> None:
    rows = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    assert all(row["source_modules"] == ["byzer_magic"] for row in rows if row["type"] == "forbidden")
    assert rows[0]["exhaustive"] is True
