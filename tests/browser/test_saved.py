"""A notebook with every kind of output, run in JupyterLab, saved, and opened again without its kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.checks import violations
from tests.browser.conftest import Lab
from tests.browser.driver import Notebook, to_html_by_command
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
    "%byzer form deepseek-chat": "deepseek-chat",
    "%byzer chat m": "m",
}
"""What must be read in the output of the first cell that begins so, a day later."""


def test_saved_notebook_is_readable_without_its_kernel_and_in_nbconvert(
    notebook: Callable[[list[str]], Notebook], lab: Lab, provider: Process
) -> None:
    sources = saved.cells(provider.url, lab.folder)
    book = notebook(sources)
    book.run_all(seconds=240)
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
        expect(snapshot).to_contain_text(alias, timeout=15_000)


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
    from tests.browser.driver import ARTEFACTS

    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / "saved-nbconvert.png", full_page=True)
