"""The notebooks that ship, executed from top to bottom as Run All does."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from byzer_magic.client import serving
from byzer_magic.client.manager import Manager
from tests.conftest import KEY
from tests.servers.process import Process, free_port

pytestmark = [pytest.mark.kernel, pytest.mark.ray, pytest.mark.engine]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


ASKING = sorted(path for path in NOTEBOOKS.glob("*.ipynb") if path.stem != "05_replay")  # see test_replay.py


@pytest.mark.parametrize("path", ASKING, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, cluster: Manager, kernel_env: dict[str, str], folder: Path) -> None:
    source = path.read_text().replace("8000", str(free_port()))
    notebook = nbformat.reads(source, as_version=4)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
    client.execute(env=kernel_env)
    outputs = str([cell.get("outputs") for cell in notebook.cells])
    assert "Paris" in outputs
    assert "put-your-key-here" not in outputs, "only in the cell that sets it"
    assert "smollm2" not in cluster.run(cluster.aliases())
    assert cluster.run(serving.running(cluster)) == []


def test_shipped_notebooks_have_no_outputs() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        assert [cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs] == []


def test_saved_notebook_and_history_have_no_key(
    cluster: Manager, kernel_env: dict[str, str], provider: Process, tmp_path: Path
) -> None:
    params = f"--infer_params saas.base_url={provider.url}/v1 saas.api_key=${{PLANTED}} saas.model=gpt-4o"
    cells = [
        "%load_ext byzer_magic",
        f"%byzer deploy --pretrained_model_type saas/openai {params} --model planted",
        "%%chat planted\nhello",
        "%%chat planted\nfault:leak",
        "%byzer stat",
        "%byzer list",
        "%byzer logs --model planted",
        "_chat",
        "%byzer deploy --pretrained_model_type saas/openai --model x --infer_params saas.api_key=${PLANTED} saas.a=1",
        "%byzer undeploy --model planted",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    ipython = tmp_path / "ipython"
    client = NotebookClient(book, timeout=120, allow_errors=True, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env={**kernel_env, "PLANTED": KEY, "IPYTHONDIR": str(ipython)})
    target = tmp_path / "saved.ipynb"
    nbformat.write(book, target)
    assert "Echo: hello" in target.read_text()
    assert "invalid API key" in target.read_text()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
