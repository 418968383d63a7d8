"""A notebook with every kind of output: in JupyterLab, saved and opened again without its kernel; in a terminal; in
Notebook 7, with errors, completion, chat and form.

They share what the first one deploys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.checks import violations
from tests.browser.conftest import START_SECONDS, Lab, Models
from tests.browser.driver import ARTEFACTS, Notebook, Watch, to_html_by_command, write_notebook
from tests.browser.test_chat import ANSWER, Chat
from tests.browser.test_completion import accepted
from tests.browser.test_form import Form
from tests.kernel import saved
from tests.servers.process import Process

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.timeout(600)]
BROKEN = ("model not found", "Error displaying widget", "Error creating widget", "Loading widget", "[object Object]")
READS = {
    "%%chat m": "Title",
    "%%chat vectors": "1 embedding",
    "%%chat rank": "the blue sky",
    "%%chat m,other,locked": "Echo: hello",
    "%%chat locked": "invalid API key",
    "%byzer deploy --model x --num_worker 2": "Did you mean --num_workers?",
    "%byzer stat": "listen",
    "%byzer panel": "listen",
    "%byzer plot --model m": "requests",
    "%byzer what_if --model m --num_workers 2": "Replayed",
    "%byzer form deepseek-chat": "deepseek-chat",
    "%byzer chat m": "m",
}
"""What must be read in the output of the first cell that begins so, a day later."""


def test_saved_notebook_is_readable_without_its_kernel_and_in_nbconvert(
    notebook: Callable[[list[str]], Notebook], lab: Lab, provider: Process, kept: set[str]
) -> None:
    sources = saved.cells(provider.url, lab.folder)
    book = notebook(sources)
    book.run_all(seconds=240)
    kept |= saved.MODELS.keys()
    settled(book, sources)
    book.save()
    file = book.saved()
    assert "\n".join(saved.faults(file)) == ""
    assert saved.leaks(book.path.read_text()) == []
    print(saved.sizes(file))
    is_the_same_in_nbconvert(book, lab)

    for kernel in (False, True):
        book.reopen(kernel=kernel)
        reads(book, sources)
    book.enlarge()
    book.screenshot("saved-light")
    assert violations(*map(book.output, range(len(sources)))) == []
    book.dark()
    book.screenshot("saved-dark")
    assert violations(*map(book.output, range(len(sources)))) == []


def settled(book: Notebook, sources: list[str]) -> None:
    """Wait until the snapshot under the live panel has all deployments."""
    snapshot = book.output(sources.index("%byzer panel")).locator(".bz-snapshot")
    for alias in (*saved.MODELS, "locked", "one"):
        expect(snapshot).to_contain_text(alias)


def reads(book: Notebook, sources: list[str]) -> None:
    """Fail where an output does not show what it should."""
    firsts = [source.split("\n")[0] for source in sources]
    for first, text in READS.items():
        expect(book.output(firsts.index(first)), first).to_contain_text(text)
    shown = book.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook").inner_text()
    assert [word for word in BROKEN if word in shown] == []


def is_the_same_in_nbconvert(book: Notebook, lab: Lab) -> None:
    """Fail where a page that `jupyter nbconvert` makes of the saved notebook does not show what it should."""
    page = to_html_by_command(book.path)
    assert saved.leaks(page.read_text()) == []
    other = lab.page.context.new_page()
    other.on("request", lambda request: None)
    other.route("**/*", lambda route: route.abort() if route.request.url.startswith("http") else route.continue_())
    try:
        other.goto(page.as_uri())
        shown = other.locator("body").inner_text()
        assert [text for text in READS.values() if text not in shown] == []
        assert [word for word in BROKEN if word in shown] == []
        assert "Traceback" not in shown
        book.page.wait_for_timeout(200)
        shot(other)
    finally:
        other.close()


def shot(page: Any) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / "saved-nbconvert.png", full_page=True)


def test_terminal_shows_every_output_as_text(
    ipython: Callable[..., str], lab: Lab, provider: Process, models: Models
) -> None:
    models.keep(**saved.MODELS)
    shown = ipython([*saved.cells(provider.url, lab.folder, saved.MODELS)], seconds=240)
    ARTEFACTS.mkdir(exist_ok=True)
    (ARTEFACTS / "terminal.txt").write_text(shown)
    assert saved.leaks(shown) == []
    assert not re.search(r"</?(div|span|table|details|style)\b", shown), "no HTML in a terminal"
    assert "Traceback" not in shown
    assert "<IPython" not in shown
    for text in ("Echo: hello", "the blue sky", "invalid API key (401)", "Did you mean --num_workers?", "saas/openai"):
        assert text in shown


STREAM = "%%chat m\ntokens:2000@40"


@pytest.fixture(scope="module")
def page_of_seven(lab: Lab, provider: Process) -> Iterator[tuple[Notebook, Watch]]:
    """The notebook, and two cells more, in Notebook 7, whose page takes seconds to load; all cells are visible."""
    page = lab.page.context.new_page()
    watch = Watch(page)
    page.set_viewport_size({"width": 1280, "height": 6000})
    path = lab.folder / "seven.ipynb"
    write_notebook(path, [*saved.cells(provider.url, lab.folder, saved.MODELS), STREAM, ""])
    page.goto(lab.url(f"notebooks/{path.name}"), timeout=START_SECONDS * 1000)
    book = Notebook(page, path)
    book.started()
    yield book, watch
    page.evaluate("window.jupyterapp?.shell.currentWidget?.sessionContext.shutdown()")
    page.close()


@pytest.fixture
def seven(page_of_seven: tuple[Notebook, Watch], models: Models) -> Iterator[Notebook]:
    """That notebook, the extension loaded; errors in its console and requests that left the machine fail the test."""
    book, watch = page_of_seven
    models.keep(**saved.MODELS)
    watch.forget()
    book.run(0)
    yield book
    watch.check()


def place(book: Notebook, source: str) -> int:
    """Return the index of a cell."""
    found = book.page.evaluate(
        """source => window.jupyterapp.shell.currentWidget.content.widgets.findIndex(
            (cell) => cell.model.sharedModel.source === source)""",
        source,
    )
    assert found >= 0
    return int(found)


def test_notebook7_shows_every_output_as_jupyterlab_does(
    seven: Notebook, lab: Lab, provider: Process, kept: set[str]
) -> None:
    sources = saved.cells(provider.url, lab.folder, saved.MODELS)
    for index in range(1, len(sources)):
        seven.run(index, seconds=240)
    kept |= {"locked"}
    seven.page.wait_for_timeout(1500)
    reads(seven, sources)
    seven.screenshot("notebook7")
    assert "\n".join(violations(*map(seven.output, range(len(sources))))) == ""
    seven.save()
    assert "\n".join(saved.faults(seven.saved())) == ""
    assert saved.leaks(seven.path.read_text()) == []


def test_notebook7_streams_an_answer(seven: Notebook) -> None:
    index = place(seven, STREAM)
    cell = seven.run(index, wait=False)
    expect(cell).to_contain_text("t10")
    assert "t1900" not in cell.inner_text(), "it is shown while it arrives"
    seven.interrupt()
    seven.wait(index)
    expect(cell).to_contain_text("interrupted")
    assert seven.failed(index)


def test_notebook7_shows_errors_and_completions(seven: Notebook, models: Models) -> None:
    models.keep(wrong_key="locked")
    index = place(seven, "%%chat locked\nhello")
    cell = seven.run(index)
    assert seven.failed(index)
    cell.get_by_text("Show details").click()
    expect(cell.locator(".bz-failure dl")).to_contain_text("AuthenticationFailed")
    last = place(seven, STREAM) + 1
    assert accepted(seven, last, "%byzer deploy --infer_b") == "%byzer deploy --infer_backend"
    seven.page.keyboard.press("Shift+Tab")
    expect(seven.page.locator(".jp-Tooltip")).to_contain_text("engine that runs a local model")
    seven.screenshot("notebook7-help")
    seven.page.keyboard.press("Escape")


def test_notebook7_has_the_chat(seven: Notebook) -> None:
    index = place(seven, "%byzer chat m")
    seven.run(index)
    chat = Chat(seven, index)
    expect(chat.ask(f"say:{ANSWER}").locator("math")).to_have_count(2)
    assert not seven.cell(index).locator(".bz-chat-kept").is_visible()
    seven.screenshot("chat-seven")


def test_notebook7_has_the_form(seven: Notebook) -> None:
    index = place(seven, "%byzer form deepseek-chat")
    seven.run(index)
    form = Form(seven, index)
    form.input("model").fill("seven")
    expect(form.line).to_contain_text("--model seven")
    form.button("Insert as cell").click()
    expect(seven.cell(index + 1)).to_contain_text("%byzer deploy --model seven")
    seven.screenshot("form-notebook7")
