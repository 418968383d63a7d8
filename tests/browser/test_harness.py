"""The harness itself: a notebook runs, is saved, is opened again; the terminal and nbconvert show the same."""

from __future__ import annotations

import pytest

from tests.browser.driver import to_html

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.timeout(240)]


def test_notebook_runs_and_is_saved(notebook, models) -> None:
    models.deploy("m")
    book = notebook(["%load_ext byzer_magic", "%%chat m\nhello", "%%chat nobody\nhello"])
    book.run_all()
    assert "Echo: hello" in book.output(1).inner_text()
    assert book.failed(2)
    book.screenshot("harness")
    book.reopen()
    assert "Echo: hello" in book.output(1).inner_text()
    assert "Echo: hello" in to_html(book.path).read_text()


def test_notebook_starts_with_a_new_kernel(notebook) -> None:
    book = notebook(["x = 6", "print(x * 7)"])
    book.run_all()
    assert book.output(1).inner_text().strip() == "42"


def test_terminal_shows_help(ipython) -> None:
    assert "COMMAND" in ipython(["%load_ext byzer_magic", "%byzer help"])
