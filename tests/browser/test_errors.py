"""Errors in JupyterLab: one clean block, details on demand, a failed cell, and no secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.checks import accessible, english, walk
from tests.browser.conftest import Lab, Models
from tests.browser.driver import Notebook
from tests.conftest import KEY

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.timeout(300)]
Opener = Callable[[list[str]], Notebook]
LOAD = f"%load_ext byzer_magic\nKEY = {KEY!r}"


def test_error_of_a_refused_key_is_one_block_with_details(notebook: Opener, models: Models) -> None:
    models.keep(wrong_key="m")
    book = notebook([LOAD, "%%chat m\nhello", "print('after')"])
    book.run(0)
    cell = book.run(1)
    assert book.failed(1)
    expect(cell).to_contain_text("invalid API key (401)")
    assert cell.inner_text().count("invalid API key") == 1, "shown once"
    assert "Traceback" not in cell.inner_text()
    fold = cell.locator(".bz-failure details")
    expect(fold).not_to_have_attribute("open", "")
    assert walk(cell.locator(".bz-failure")) == ["summary Show details"]
    book.screenshot("error-folded")
    cell.get_by_text("Show details").click()
    expect(fold.locator("dl")).to_contain_text("AuthenticationFailed")
    expect(fold.locator("dl")).to_contain_text("401")
    accessible(cell.locator(".bz-failure"))
    book.screenshot("error-light", cell)
    book.dark()
    accessible(cell.locator(".bz-failure"))
    book.screenshot("error-dark", cell)
    book.save()
    assert "sk-wrong" not in book.path.read_text()
    shown = [output["output_type"] for output in book.saved()["cells"][1]["outputs"]]
    assert shown == ["error", "display_data"]


def test_run_all_stops_at_a_failed_cell(notebook: Opener) -> None:
    book = notebook(["%load_ext byzer_magic", "%byzer stta", "print('after')"])
    book.command("notebook:run-all-cells")
    expect(book.output(1)).to_contain_text("Unknown command 'stta'.")
    expect(book.output(1)).to_contain_text("Did you mean stat?")
    assert book.outputs(2) == []
    assert book.cell(1).locator(".bz-failure").count() == 0, "no details where there are none"


def test_error_of_a_failed_load_has_the_log_in_its_details(notebook: Opener, lab: Lab, gguf: Path) -> None:
    (lab.folder / "odd.gguf").write_bytes(gguf.read_bytes().replace(b"llama.block_count", b"llama.block_coast", 1))
    line = "%byzer deploy --infer_backend llama_cpp --model_path odd.gguf --model odd --cpus_per_worker 0.01"
    book = notebook(["%load_ext byzer_magic", line])
    book.run(0)
    cell = book.run(1)
    assert book.failed(1)
    cell.get_by_text("Show details").click()
    expect(cell.locator(".bz-failure pre")).to_contain_text("block_count")
    assert walk(cell.locator(".bz-failure"))[-1].startswith("pre Last lines")
    accessible(cell.locator(".bz-failure"))
    book.screenshot("error-load", cell)


def test_errors_are_chinese_around_the_providers_text(notebook: Opener, models: Models) -> None:
    models.keep(wrong_key="m")
    book = notebook(["%load_ext byzer_magic", "%config ByzerMagics.lang = 'zh'", "%%chat m\nhello"])
    book.run_all()
    expect(book.cell(2)).to_contain_text("API Key 无效（401）：Incorrect API key provided: ***.\n请检查 saas.api_key。")
    fold = book.cell(2).locator(".bz-failure")
    fold.get_by_text("显示详情").click()
    assert english(fold.inner_text(), "failure") == []
    book.screenshot("error-chinese", book.cell(2))


def test_errors_are_caught_by_class_without_output(notebook: Opener) -> None:
    code = (
        "from byzer_magic import errors\ntry:\n    get_ipython().run_line_magic('chat', 'nobody hello')\n"
        "except errors.NotDeployed as err:\n    print('caught', err.code)"
    )
    book = notebook(["%load_ext byzer_magic", code])
    book.run_all()
    assert book.output(1).inner_text().strip() == "caught NotDeployed"


def test_error_in_a_terminal_is_text_with_details_by_tb(ipython: Callable[..., str], models: Models) -> None:
    models.keep(wrong_key="m")
    shown = ipython(["%load_ext byzer_magic", "%chat m hello"])
    assert shown.count("invalid API key (401)") == 1
    assert "Details: %tb" in shown
    assert "Traceback" not in shown
    assert "sk-wrong" not in shown
    more = ipython(["%load_ext byzer_magic", "%chat m hello", "%tb"])
    assert "HTTP status: 401" in more
