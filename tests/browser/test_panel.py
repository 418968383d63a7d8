"""The live panel in a real JupyterLab: live while a cell runs, paused out of sight, gone when it is closed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.driver import Notebook, to_html, until_there
from tests.conftest import KEY
from tests.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
Opener = Callable[[list[str]], Notebook]
PANEL = 2
ASK = """async (expression) => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const done = kernel.requestExecute({code: '', silent: true, user_expressions: {found: expression}});
    return (await done.done).content.user_expressions.found.data['text/plain'];
}"""


@pytest.fixture
def opened(notebook: Opener) -> Callable[..., Notebook]:
    """Open a notebook whose third cell is a panel of deployments that are only data."""

    def open_one(*more: str, models: int = 3, workers: int = 2) -> Notebook:
        data = f"from tests.fleets import pretend, ill; manager = pretend({models}, {workers})"
        book = notebook(["%load_ext byzer_magic", data, "%byzer panel", *more])
        for index in range(3):
            book.run(index)
        expect(panel(book)).to_be_visible()
        return book

    return open_one


def panel(book: Notebook) -> Locator:
    return book.output(PANEL).locator("[data-bz-mount] .bz-panel")


def row(book: Notebook, alias: str) -> Locator:
    return panel(book).locator(f'tr.bz-model[data-group="{alias}"]')


def requests(book: Notebook, alias: str = "model_00") -> int:
    return int(row(book, alias).locator('[data-cell="requests"]').inner_text().replace(",", ""))


def following(book: Notebook) -> int:
    """Ask the kernel without a cell, which would scroll the notebook."""
    return int(book.page.evaluate(ASK, "manager.following"))


def hold(book: Notebook, *, on: bool) -> None:
    """Stop the changes that begin from now on half way, or let them go on."""
    book.page.evaluate(ASK, f"setattr(manager, 'held', {on})")


def wait_until(true: Callable[[], Any]) -> None:
    assert eventually(true, pause=0.2)


def test_panel_is_live_while_a_cell_runs(opened: Callable[..., Notebook], tmp_path: Path) -> None:
    book = opened(until_there(tmp_path / "end"))
    book.run(3, wait=False)
    before = requests(book)
    wait_until(lambda: requests(book) > before + 4)
    row(book, "model_01").locator(".bz-twist").click()
    expect(panel(book).locator('tr.bz-worker[data-group="model_01"]')).to_have_count(2)
    assert book.cell(3).locator(".jp-InputPrompt").inner_text().strip() == "[*]:", "the cell still runs"
    assert panel(book).locator('tr.bz-worker[data-group="model_00"]').count() == 0
    assert panel(book).locator(".bz-plots svg").count() == 3
    book.screenshot("panel-light", book.output(PANEL))
    (tmp_path / "end").touch()
    book.wait(3)
    book.dark()
    book.screenshot("panel-dark", book.output(PANEL))
    book.dark(on=False)


def test_panel_keeps_the_focus_while_numbers_change(opened: Callable[..., Notebook]) -> None:
    book = opened()
    chat = row(book, "model_01").locator('[data-do="chat"]')
    chat.focus()
    before = requests(book)
    wait_until(lambda: requests(book) > before + 4)
    assert chat.evaluate("node => node === document.activeElement")
    book.page.keyboard.press("Tab")
    assert "bz-icon" in book.page.evaluate("document.activeElement.className")


def test_panel_scales_with_the_keyboard_on_a_narrow_screen(opened: Callable[..., Notebook]) -> None:
    book = opened()
    book.page.set_viewport_size({"width": 980, "height": 900})
    row(book, "model_00").locator('[data-do="more"]').click()
    panel(book).locator('.bz-tray [data-do="scale"]').press("Enter")
    field = panel(book).locator(".bz-tray input[type=number]")
    expect(field).to_be_focused()
    assert field.input_value() == "2"
    hold(book, on=True)
    book.page.keyboard.type("4")
    book.page.keyboard.press("Enter")
    status = panel(book).locator(".bz-tray .bz-status")
    expect(status).to_contain_text("loading")
    hold(book, on=False)
    expect(status).to_have_text("Done.")
    expect(row(book, "model_00").locator('[data-cell="slots"]')).to_contain_text("/16")
    field.fill("99")
    book.page.keyboard.press("Enter")
    expect(status).to_contain_text("There is room for 20 workers.")
    book.screenshot("panel-error", book.output(PANEL))
    book.page.keyboard.press("Escape")
    expect(status).to_have_count(0)


def test_panel_puts_to_sleep_wakes_and_asks_before_it_undeploys(opened: Callable[..., Notebook]) -> None:
    book = opened()
    expect(row(book, "model_00").locator('[data-do="sleep"]')).to_be_hidden()  # an API
    local = row(book, "model_01")
    expect(local.locator('[data-do="wake"]')).to_be_hidden()
    local.locator('[data-do="sleep"]').click()
    expect(local.locator(".bz-state")).to_have_text("asleep: told to")
    expect(panel(book).locator(".bz-summary")).to_contain_text("1 asleep")
    expect(local.locator('[data-do="sleep"]')).to_be_hidden()
    hold(book, on=True)
    local.locator('[data-do="wake"]').click()
    expect(local.locator(".bz-state")).to_have_text("waking")
    hold(book, on=False)
    expect(local.locator(".bz-state")).to_have_count(0)
    row(book, "model_02").locator('[data-do="undeploy"]').click()
    asks = panel(book).locator('.bz-tray[data-group="model_02"]')
    expect(asks).to_contain_text("Undeploy model_02?")
    asks.get_by_role("button", name="Keep").click()
    expect(asks).to_have_count(0)
    row(book, "model_02").locator('[data-do="undeploy"]').click()
    asks.get_by_role("button", name="Undeploy").click()
    expect(row(book, "model_02")).to_have_count(0)
    expect(panel(book).locator(".bz-summary")).to_contain_text("2 deployments")


def test_panel_shows_logs_as_text_and_opens_a_chat_cell(opened: Callable[..., Notebook]) -> None:
    book = opened()
    row(book, "model_00").locator('[data-do="logs"]').click()
    expect(panel(book).locator("pre.bz-log")).to_contain_text("model_00 wrote <b>line 199</b>")
    row(book, "model_01").locator('[data-do="chat"]').click()
    wait_until(lambda: book.source(PANEL + 1) == "%byzer chat model_01")


def test_panel_leaves_nothing_running(opened: Callable[..., Notebook]) -> None:
    """Closed, cleared, run again, with its kernel, deleted: in one notebook, since each takes seconds to open."""
    book = opened()
    assert following(book) == 1
    panel(book).locator('[data-do="close"]').click()
    expect(book.output(PANEL).locator(".bz-snapshot")).to_be_visible()
    expect(book.output(PANEL)).to_contain_text("as of")
    wait_until(lambda: following(book) == 0)

    shown_once(book)
    book.page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 2")
    book.command("notebook:clear-cell-output")
    wait_until(lambda: following(book) == 0)

    shown_once(book)
    shown_once(book)
    book.restart()
    expect(panel(book)).to_have_count(0)
    expect(book.output(PANEL).locator(".bz-snapshot")).to_be_visible()

    for index in range(PANEL):
        book.run(index)
    shown_once(book)
    book.command("notebook:delete-cell")
    wait_until(lambda: following(book) == 0)


def shown_once(book: Notebook) -> None:
    """Run the panel's cell: one panel follows the deployments, whatever there was before."""
    book.run(PANEL)
    expect(panel(book)).to_be_visible()
    wait_until(lambda: following(book) == 1)
    assert panel(book).count() == 1


def test_panel_pauses_while_it_is_out_of_sight(opened: Callable[..., Notebook]) -> None:
    book = opened("\n".join(["#"] * 120))
    book.cell(3).locator(".cm-line").last.scroll_into_view_if_needed()
    wait_until(lambda: following(book) == 0)
    book.cell(PANEL).scroll_into_view_if_needed()
    before = requests(book)
    wait_until(lambda: requests(book) > before)


def test_panel_marks_stale_numbers_and_shows_errors(opened: Callable[..., Notebook]) -> None:
    lost = "import time; manager.silent['model_01'] = time.monotonic() - 20; manager.error = 'Ray does not respond.'"
    book = opened(lost, "manager.silent.clear(); manager.error = ''")
    book.run(3)
    expect(row(book, "model_01")).to_contain_text("no update for")
    expect(panel(book).locator(".bz-alarm")).to_have_text("Ray does not respond.")
    book.screenshot("panel-stale", book.output(PANEL))
    book.run(4)
    expect(row(book, "model_01")).not_to_contain_text("no update for")
    expect(panel(book).locator(".bz-alarm")).to_be_hidden()


def test_panel_shows_fifty_deployments_of_a_hundred_workers(opened: Callable[..., Notebook]) -> None:
    book = opened(models=50, workers=100)
    expect(panel(book).locator("tr.bz-model")).to_have_count(50)
    row(book, "model_49").locator(".bz-twist").click()
    expect(panel(book).locator("tr.bz-worker")).to_have_count(100)
    panel(book).get_by_role("searchbox").fill("_4")
    expect(panel(book).locator("tr.bz-model:visible")).to_have_count(10)
    assert panel(book).evaluate("node => node.innerHTML.length") < 1_000_000
    book.screenshot("panel-fifty", book.output(PANEL))


def test_panel_snapshot_is_readable_without_its_kernel(opened: Callable[..., Notebook]) -> None:
    book = opened()
    panel(book).locator('[data-do="close"]').click()
    expect(book.output(PANEL)).to_contain_text("as of")
    book.reopen()
    out = book.output(PANEL)
    expect(out.locator(".bz-snapshot")).to_be_visible()
    assert "3 deployments" in out.inner_text()
    assert "model not found" not in book.page.inner_text("body").lower()
    out.locator("summary").click()
    expect(out).to_contain_text("model_02 worker 1")
    book.screenshot("panel-reopened", out)
    outputs = book.saved()["cells"][PANEL]["outputs"]
    assert all({"text/html", "text/plain"} == set(output["data"]) for output in outputs)
    assert "3 deployments" in to_html(book.path).read_text()


@pytest.mark.ray
def test_panel_of_a_real_deployment_has_no_key(notebook: Opener, models: Any) -> None:
    models.deploy("m")
    book = notebook(["%load_ext byzer_magic", "%chat m hello", "%byzer panel"])
    book.run_all()
    expect(row(book, "m")).to_be_visible()
    assert requests(book, "m") >= 1
    row(book, "m").locator('[data-do="drain"]').click()
    book.page.keyboard.press("Enter")
    expect(row(book, "m")).to_contain_text("drained")
    row(book, "m").locator('[data-do="restart"]').click()
    expect(row(book, "m")).not_to_contain_text("drained")
    book.save()
    assert KEY not in book.path.read_text()
