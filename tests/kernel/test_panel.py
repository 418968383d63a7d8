"""`%byzer panel` and `%byzer plot` in a real kernel, without any page."""

from __future__ import annotations

import pytest

from byzer_magic.client.manager import Manager
from tests.conftest import KEY
from tests.kernel.conftest import Kernel
from tests.kernel.test_magics import deploy_line
from tests.servers.process import Process
from tests.waiting import eventually

pytestmark = [pytest.mark.kernel, pytest.mark.ray]
OPEN = "import byzer_magic.widgets.panel.screen as p; print(len(p.OPEN))"


@pytest.fixture(scope="module")
def deployed(kernel: Kernel, provider: Process) -> Kernel:
    """A kernel in which `m` has answered once, and `quiet` never."""
    kernel.run(f"KEY = {KEY!r}")
    for alias in ("m", "quiet"):
        assert (cell := kernel.run(deploy_line(provider, alias))).status == "ok", cell.everything
    assert "Echo" in kernel.run("%chat m hello").markdown
    return kernel


def test_panel_in_an_unattended_notebook_has_the_numbers(deployed: Kernel) -> None:
    cell = deployed.run("%byzer panel --model m")
    mount, snapshot = cell.shown
    assert "data-bz-mount" in mount["text/html"]
    assert mount["text/plain"]
    assert "1 deployment · 0/4 slots busy" in snapshot["text/plain"]
    assert '<th scope="row">' in snapshot["text/html"]
    assert KEY not in cell.everything


def test_panel_updates_while_cells_run_until_it_is_closed(deployed: Kernel) -> None:
    deployed.run("import time, byzer_magic.widgets.panel.screen as p; p.close_all()\n%byzer panel --model m")
    busy = deployed.run("import byzer_magic as bz, time\nfor _ in range(25): bz.model('m').chat('x'); time.sleep(.1)")
    assert busy.status == "ok", busy.everything
    assert busy.updates == 0, "it is painted in its own cell, not in the one that runs"
    assert deployed.run(OPEN).text == "1\n"
    following = "import asyncio; from byzer_magic.runtime.loop import LOOP\n"
    following += "print(sum('_live' in str(task) for task in asyncio.all_tasks(LOOP.start())))"
    assert deployed.run(following).text == "1\n"
    deployed.run("p.close_all()")
    assert deployed.run(OPEN).text == "0\n"
    assert eventually(lambda: deployed.run(following).text == "0\n")


def test_panel_reports_a_missing_deployment(deployed: Kernel) -> None:
    shown = deployed.run("%byzer panel --model nobody").shown[1]
    assert "nobody" in shown["text/plain"]
    deployed.run("p.close_all()")


def test_plot_has_a_figure(deployed: Kernel, cluster: Manager) -> None:
    def has_all() -> bool:
        samples = cluster.run(cluster.history("m"))
        return any(item.pool_cpu is not None for item in samples) and any(item.cost is not None for item in samples)

    assert eventually(has_all)
    (figure,) = deployed.run("%byzer plot --model m").shown
    assert figure["text/html"].count("<svg") == 7
    assert "requests, 0 errors" in figure["text/plain"]
    assert "Requests/s" in figure["text/plain"]
    assert "nobody" in deployed.run("%byzer plot --model nobody").everything


def test_what_if_has_the_figure_with_the_prediction_and_a_table(deployed: Kernel) -> None:
    cell = deployed.run("%byzer what_if --model m --num_workers 2 --scale_load 3")
    (figure,) = cell.shown
    assert figure["text/html"].count("<svg") == 9
    assert figure["text/html"].count("<table") == 1
    assert "What if" in figure["text/plain"]
    assert "Too little data" in cell.text


@pytest.mark.parametrize("command", ["plot", "what_if --num_workers 2"])
def test_figures_without_requests_are_empty(deployed: Kernel, command: str) -> None:
    cell = deployed.run(f"%byzer {command} --model quiet")
    assert "has had no requests" in cell.everything
    assert cell.shown == []


def test_stat_looks_like_the_panel(deployed: Kernel) -> None:
    (table,) = deployed.run("%byzer stat").shown
    assert "bz-squares" in table["text/html"]
    assert "saas/openai" in table["text/plain"]
    wait = "import byzer_magic as bz, time\nwhile (s := bz.model('m').stat()).pool_cpu is None: time.sleep(0.2)"
    assert deployed.run(f"{wait}\nprint(0 <= s.pool_cpu <= 1, s.is_full)").text == "True False\n"
    assert "%" in deployed.run("%byzer stat").shown[0]["text/plain"]


def test_panel_is_static_without_the_extension(deployed: Kernel) -> None:
    deployed.run("%byzer panel --model m")
    deployed.run("%unload_ext byzer_magic")
    assert deployed.run(OPEN).text == "0\n"
    deployed.run("%load_ext byzer_magic")
