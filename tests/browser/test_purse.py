"""A purse that is empty, in a real JupyterLab: the cell waits, and a click lets it go on or stops it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.checks import accessible
from tests.browser.conftest import Models
from tests.browser.driver import Notebook

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.timeout(300)]


def test_empty_purse_pauses_the_cell_until_a_click(notebook: Callable[[list[str]], Notebook], models: Models) -> None:
    models.keep(paid="gpt-4o")
    book = notebook(
        [
            "%load_ext byzer_magic\nimport os; os.makedirs('purse', exist_ok=True); os.chdir('purse')",
            "%byzer purse 0.0001",
            "%%chat paid --max_tokens 100\nhello",
            "%byzer purse 0.0001\n%chat paid --max_tokens 100 hello",
            "%byzer receipt",
            "%byzer purse off\nos.chdir('..')",
        ]
    )
    for place in (0, 1):
        book.run(place)
    cell = book.run(2, wait=False)
    add = cell.get_by_role("button", name="Add $0.002")
    expect(add).to_be_visible()
    expect(add).not_to_be_focused()
    expect(cell).to_contain_text("Purse: $0.0001 left; this request to paid may cost up to $0.001")
    accessible(book.output(2))
    book.screenshot("purse-empty", cell)
    add.click()
    book.wait(2)
    assert not book.failed(2)
    expect(cell).to_contain_text("TTFT")
    shown = json.dumps(book.outputs(2), ensure_ascii=False)
    assert "→ Add $0.002" in shown
    assert "data-bz-mount" not in shown

    cell = book.run(3, wait=False)
    cell.get_by_role("button", name="Stop").click()
    book.wait(3)
    assert book.failed(3)
    expect(cell).to_contain_text("The purse has $0.0000")

    cell = book.run(3, wait=False)
    expect(cell.get_by_role("button", name="Stop")).to_be_visible()
    book.interrupt()
    book.wait(3)
    assert book.failed(3)
    assert "%%chat paid --max_tokens 100 hello" in book.run(4).inner_text()
    expect(book.run(5)).to_contain_text("The purse is gone.")
