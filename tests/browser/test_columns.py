"""Several models side by side in a real JupyterLab: they stream at once, and nothing jumps when one fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.checks import accessible, english
from tests.browser.conftest import Models
from tests.browser.driver import Notebook, to_html
from tests.servers.process import Process, release

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.timeout(300)]
Opener = Callable[[list[str]], Notebook]
TOPS = "cell => [...cell.querySelectorAll('.bz-column')].map(node => node.getBoundingClientRect().top)"
"""In one evaluation: a column may be rendered again between two."""


@pytest.fixture
def opened(notebook: Opener, models: Models) -> Callable[..., Notebook]:
    """Open a notebook in which `a` and `b` answer, `bad` has a wrong key, `voice` makes audio and `draw` images."""
    models.keep(a="gpt-4o", b="gpt-4o", voice="tts-1", draw="gpt-image-1.5", wrong_key="bad")

    def open_one(*cells: str) -> Notebook:
        book = notebook(["%load_ext byzer_magic", *cells])
        book.run(0)
        return book

    return open_one


def test_columns_stream_together_and_one_may_fail(opened: Callable[..., Notebook], provider: Process) -> None:
    book = opened("%%chat a,bad,b\nrest:columns tokens:120@25")
    cell = book.run(1, wait=False)
    columns = cell.locator(".bz-column")
    for place in (0, 2):  # they stream side by side: none has ended
        expect(columns.nth(place)).to_contain_text("t1")
    expect(columns.nth(1)).to_contain_text("failed")
    expect(columns.nth(1)).to_contain_text("invalid API key")
    tops = cell.evaluate(TOPS)
    assert len(set(tops)) == 1, "in one row"
    release(provider, "columns")
    expect(columns.nth(2)).to_contain_text("t20")
    book.screenshot("columns-streaming", cell)
    book.wait(1)
    expect(columns.nth(0)).to_contain_text("7 + 120 tokens")
    assert not book.failed(1)
    accessible(book.output(1))
    book.screenshot("columns-light", cell)
    book.dark()
    accessible(book.output(1))
    book.screenshot("columns-dark", cell)
    book.dark(on=False)
    book.save()
    page = to_html(book.path).read_text()
    assert page.count('class="bz-column ') == 3
    book.reopen()
    expect(book.cell(1).locator(".bz-column")).to_have_count(3)


def test_columns_are_stacked_on_a_narrow_screen(opened: Callable[..., Notebook]) -> None:
    book = opened("%%chat a,b\nhello")
    before = book.page.viewport_size
    cell = book.run(1)
    book.page.set_viewport_size({"width": 520, "height": 900})
    book.page.wait_for_function(
        "() => { const [a, b] = document.querySelectorAll('.bz-column'); "
        "return a.getBoundingClientRect().bottom <= b.getBoundingClientRect().top }"
    )
    book.screenshot("columns-narrow", cell)
    if before:
        book.page.set_viewport_size(before)


def test_columns_are_all_stopped_by_an_interrupt(opened: Callable[..., Notebook]) -> None:
    book = opened("%%chat a,b\ntokens:3000@50", "print([item.interrupted for item in _chat])")
    cell = book.run(1, wait=False)
    expect(cell.locator(".bz-column").nth(1)).to_contain_text("t10")
    book.interrupt()
    book.wait(1)
    expect(cell.locator(".bz-stopped")).to_have_count(2)
    expect(book.run(2)).to_contain_text("[True, True]")


def test_columns_have_a_judge_below_and_media_in_a_grid(opened: Callable[..., Notebook]) -> None:
    book = opened("%%chat a,b --judge a\nhello", "%%chat a,voice,draw\nhello there")
    cell = book.run(1)
    expect(cell).to_contain_text("a compares: ")
    expect(cell.locator(".bz-answer").last).to_contain_text("Compare the answers.")
    book.screenshot("columns-judge", cell)
    grid = book.run(2)
    expect(grid.locator(".bz-column audio")).to_have_count(1)
    grid.get_by_role("button", name="Enlarge image 1 of 1: hello there").click()
    expect(book.page.locator("dialog.bz-lightbox")).to_be_visible()
    book.page.keyboard.press("Escape")
    book.screenshot("columns-media", grid)


def test_grid_is_a_table_that_can_be_sorted_and_opened(opened: Callable[..., Notebook]) -> None:
    book = opened("%%chat a,bad,b --grid n=[30,4,200] --temperature 0,0.7 --judge a\ntokens:{{n}}@100")
    cell = book.run(1, wait=False)
    rows = cell.locator(".bz-grid tbody tr")
    expect(rows).to_have_count(6)
    cell.get_by_label("Sort by").select_option("n")
    expect(rows.first).to_contain_text("4")
    cell.locator("summary").first.click()
    book.wait(1)
    expect(rows.locator("th:first-child")).to_have_text(["4", "4", "30", "30", "200", "200"])
    expect(cell.locator("details[open]")).to_have_count(1)
    expect(cell.locator("details[open] .bz-answer")).to_be_visible()
    expect(cell).to_contain_text("12 of 18 answered · 6 failed")
    accessible(book.output(1))
    book.screenshot("grid", cell)
    cell.get_by_role("button", name="Reverse").click()
    expect(rows.first).to_contain_text("200")
    book.dark()
    accessible(book.output(1))
    book.screenshot("grid-dark", cell)
    book.dark(on=False)


def test_columns_are_chinese(opened: Callable[..., Notebook]) -> None:
    book = opened("%config ByzerMagics.lang = 'zh'", "%%chat a,bad\nthink:因为\n你好")
    book.run(1)
    expect(book.run(2)).to_contain_text("首 token")
    assert not english(book.output(2).inner_text(), "columns", "footer")
    book.screenshot("columns-chinese", book.cell(2))


def test_columns_are_printed_one_after_the_other_in_a_terminal(
    ipython: Callable[[list[str]], str], models: Models
) -> None:
    models.keep(a="gpt-4o", b="gpt-4o", wrong_key="bad")
    shown = ipython(["%load_ext byzer_magic", "%%chat a,bad,b --out all\nhello", "print([item.model for item in all])"])
    assert "== a ==\nEcho: hello\nTTFT" in shown
    assert "== b ==\nEcho: hello" in shown
    assert "== bad ==\nfailed: " in shown
    assert "['a', 'bad', 'b']" in shown
