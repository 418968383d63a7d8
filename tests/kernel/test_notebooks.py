"""The notebooks that ship, executed from top to bottom as Run All does."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from byzer_magic.manager import Manager

pytestmark = [pytest.mark.kernel, pytest.mark.ray, pytest.mark.engine]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, cluster: Manager, kernel_env: dict[str, str], folder: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
    client.execute(env=kernel_env)
    text = nbformat.writes(notebook)
    assert "Paris" in text
    assert "put-your-key-here" in text.replace("***", ""), "only in the cell that sets it"
    outputs = str([cell.get("outputs") for cell in notebook.cells])
    assert "put-your-key-here" not in outputs


def test_shipped_notebooks_have_no_outputs() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        assert [cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs] == []
