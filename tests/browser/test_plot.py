"""The figure of `plot` in a real JupyterLab: in both themes, saved, and as a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.driver import Notebook, to_html

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
CELL = 3


def test_figure_follows_the_theme_and_is_saved(notebook: Callable[[list[str]], Notebook]) -> None:
    data = "from tests.fleets import pretend; manager = pretend()"
    book = notebook(["%load_ext byzer_magic", data, "1", "%byzer plot --model model_01"])
    book.run_all()
    plots = book.output(CELL).locator(".bz-figure svg")
    assert plots.count() == 7
    names = [plots.nth(place).get_attribute("aria-label") or "" for place in range(7)]
    assert names[0].startswith("Time to first token, s: 0.2 to 0.2")
    colours = [_line_colour(book)]
    book.screenshot("plot-light", book.output(CELL))
    book.dark()
    colours.append(_line_colour(book))
    assert _text_colour(book) > 128, "light letters on a dark page"
    book.screenshot("plot-dark", book.output(CELL))
    book.dark(on=False)
    assert _text_colour(book) < 128
    assert len(set(colours)) == 2, "the line follows the theme"
    book.reopen()
    assert book.output(CELL).locator(".bz-figure svg").count() == 7
    (saved,) = book.saved()["cells"][CELL]["outputs"]
    assert "Requests/s" in "".join(saved["data"]["text/plain"])
    assert to_html(book.path).read_text().count('<text class="bz-title"') == 7


def _line_colour(book: Notebook) -> Any:
    return book.output(CELL).locator(".bz-line").first.evaluate("node => getComputedStyle(node).stroke")


def _text_colour(book: Notebook) -> int:
    """Return how light the letters are, 0..255."""
    code = "node => Number(getComputedStyle(node).fill.match(/[0-9]+/)[0])"
    return int(book.output(CELL).locator(".bz-title").first.evaluate(code))
