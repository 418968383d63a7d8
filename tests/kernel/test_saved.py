"""A notebook that was executed without a browser, as nbclient and papermill do: what its file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import UndeploySpec
from tests.conftest import KEY
from tests.kernel import saved
from tests.kernel.saved import cells
from tests.servers.process import Process, openai_api

pytestmark = [pytest.mark.kernel, pytest.mark.ray, pytest.mark.timeout(300)]
ARTEFACTS = Path(__file__).parent.parent.parent / "test-artefacts"


@pytest.fixture(scope="module")
def media_provider() -> Any:
    with openai_api(KEY) as running:
        yield running


@pytest.fixture(scope="module")
def notebook(cluster: Manager, kernel_env: dict[str, str], folder: Path, media_provider: Process) -> Any:
    """The notebook, executed; failed cells and all."""
    made = new(cells(media_provider.url, folder))
    NotebookClient(made, timeout=120, allow_errors=True, resources={"metadata": {"path": str(folder)}}).execute(
        env=kernel_env
    )
    for alias in cluster.run(cluster.aliases()):
        cluster.run(cluster.undeploy(UndeploySpec(model=alias, force=True)))
    return made


def new(sources: list[str]) -> Any:
    made = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    made.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return made


def test_saved_outputs_read_without_a_kernel(notebook: Any) -> None:
    assert saved.faults(notebook) == []


def test_saved_notebook_fails_only_where_it_should(notebook: Any) -> None:
    failed = [cell for cell, output in saved.outputs(notebook) if output["output_type"] == "error"]
    assert failed == ["%%chat locked", "%byzer deploy --model x --num_worker 2"]


def test_saved_notebook_has_no_secret(notebook: Any) -> None:
    assert saved.leaks(nbformat.writes(notebook)) == []


def test_saved_notebook_is_small(notebook: Any) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    table = saved.sizes(notebook)
    (ARTEFACTS / "saved-sizes.txt").write_text(f"{table}\n")
    assert len(nbformat.writes(notebook)) < 3_000_000, table


def test_nbclient_stops_at_an_error_and_reports_it(kernel_env: dict[str, str], folder: Path) -> None:
    made = new(["%load_ext byzer_magic", "%byzer stta", "print('after')"])
    client = NotebookClient(made, timeout=120, resources={"metadata": {"path": str(folder)}})
    with pytest.raises(CellExecutionError, match="Unknown command 'stta'"):
        client.execute(env=kernel_env)
    assert made.cells[1].outputs[0].ename == "CommandError"
    assert made.cells[1].outputs[0].traceback == ["Unknown command 'stta'.", "Did you mean stat?"]
    assert made.cells[2].outputs == []
