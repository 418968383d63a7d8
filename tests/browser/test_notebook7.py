"""Notebook 7: every kind of output, live while cells run, errors with their details, completion."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.checks import violations
from tests.browser.conftest import Lab, Models
from tests.browser.driver import Notebook
from tests.browser.test_completion import accepted
from tests.browser.test_saved import reads
from tests.kernel import saved
from tests.servers.process import Process

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.timeout(600)]
Opener = Callable[[list[str]], Notebook]


def test_notebook7_shows_every_output_as_jupyterlab_does(seven: Opener, lab: Lab, provider: Process) -> None:
    sources = saved.cells(provider.url, lab.folder)
    book = seven(sources)
    book.run_all(seconds=240)
    book.enlarge()
    reads(book, sources)
    book.screenshot("notebook7")
    assert "\n".join(violations(*map(book.output, range(len(sources))))) == ""
    book.save()
    assert "\n".join(saved.faults(book.saved())) == ""
    assert saved.leaks(book.path.read_text()) == []


def test_notebook7_streams_an_answer(seven: Opener, models: Models) -> None:
    models.deploy("m")
    book = seven(["%load_ext byzer_magic", "%%chat m\ntokens:200@40"])
    book.run(0)
    cell = book.run(1, wait=False)
    expect(cell).to_contain_text("t10")
    assert "t190" not in cell.inner_text(), "it is shown while it arrives"
    book.interrupt()
    book.wait(1)
    expect(cell).to_contain_text("interrupted")
    assert book.failed(1)


def test_notebook7_shows_errors_and_completions(seven: Opener, models: Models) -> None:
    models.deploy("m", key="sk-wrong-0123456789abcdef")
    book = seven(["%load_ext byzer_magic", "%%chat m\nhello", ""])
    book.run(0)
    cell = book.run(1)
    assert book.failed(1)
    cell.get_by_text("Show details").click()
    expect(cell.locator(".bz-failure dl")).to_contain_text("AuthenticationFailed")
    assert accepted(book, 2, "%byzer deploy --infer_b") == "%byzer deploy --infer_backend"
    book.page.keyboard.press("Shift+Tab")
    expect(book.page.locator(".jp-Tooltip")).to_contain_text("engine that runs a local model")
    book.screenshot("notebook7-help")
