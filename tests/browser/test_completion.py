"""Tab and Shift-Tab in a real JupyterLab: flags, aliases, presets, and the help of the command at the cursor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.checks import english
from tests.browser.conftest import Lab, Models
from tests.browser.driver import POLL_MS, Notebook

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.timeout(300)]
Opener = Callable[[list[str]], Notebook]
COMPLETE = """() => new Promise(done => {
    let seen = 0, same = 0;
    const look = () => {
        const count = document.querySelectorAll('.jp-Completer-match').length;
        same = count === seen ? same + 1 : 0;
        seen = count;
        if (same === 10) done();
        else requestAnimationFrame(look);
    };
    look();
})"""
"""JupyterLab adds the items of a menu a few with each frame; after ten frames without one, it has all."""
LOAD = "%load_ext byzer_magic\n%byzer list"


def offered(book: Notebook, index: int, typed: str, screenshot: str = "") -> list[str]:
    """Type into a cell, press Tab, and return what the menu offers."""
    book.clear(index)
    book.type(index, typed)
    book.page.keyboard.press("Tab")
    menu = book.page.locator(".jp-Completer:visible .jp-Completer-match")
    expect(menu.first).to_be_visible()
    book.page.evaluate(COMPLETE)
    found = menu.all_inner_texts()
    if screenshot:
        book.screenshot(screenshot)
    book.page.keyboard.press("Escape")
    book.settle()  # JupyterLab has requested the help of the first item
    return found


def accepted(book: Notebook, index: int, typed: str) -> str:
    """Type into a cell, press Tab, and Enter where there is a choice; return the cell then."""
    book.clear(index)
    book.type(index, typed)
    book.page.keyboard.press("Tab")
    menu = book.page.locator(".jp-Completer:visible .jp-Completer-match")
    book.page.wait_for_function(
        """([index, typed]) => document.querySelector('.jp-Completer:not(.lm-mod-hidden) .jp-Completer-match')
            || window.jupyterapp.shell.currentWidget.content.widgets[index].model.sharedModel.source !== typed""",
        arg=[index, typed],
        polling=POLL_MS,
    )
    if menu.count():
        book.page.keyboard.press("Enter")
    book.settle()  # JupyterLab has requested the help of the item
    return book.source(index)


def tooltip(book: Notebook, index: int, typed: str) -> Locator:
    """Type into a cell, press Shift-Tab, and return the tooltip."""
    book.clear(index)
    book.type(index, typed)
    book.page.keyboard.press("Shift+Tab")
    tip = book.page.locator(".jp-Tooltip")
    expect(tip).to_be_visible()
    return tip


def test_tab_offers_flags_values_presets_and_aliases(notebook: Opener, models: Models) -> None:
    models.deploy("m")
    models.deploy("m_two")
    book = notebook([LOAD, ""])
    book.run(0)
    flags = offered(book, 1, "%byzer deploy --", screenshot="completion-flags")
    assert {"--model", "--infer_backend", "--infer_params", "--num_workers"} <= set(flags)
    assert offered(book, 1, "%byzer undeploy --model ")[:2] == ["m", "m_two"], "JupyterLab adds words of the cell below"
    assert "deepseek-chat" in offered(book, 1, "%byzer easy deploy deep")
    assert set(offered(book, 1, "%byzer deploy --pretrained_model_type saas/")) >= {"saas/openai", "saas/qianwen"}
    assert "saas.api_key=" in offered(book, 1, "%byzer deploy --pretrained_model_type saas/openai --infer_params saas.")
    assert offered(book, 1, "%%chat m")[:2] == ["m", "m_two"]
    block = "%%byzer\nbyzerllm deploy --infer_backend llama_cpp --num"
    assert accepted(book, 1, block).endswith("\nbyzerllm deploy --infer_backend llama_cpp --num_workers")


COMPLETED = {
    "%byzer depl": "%byzer deploy",
    "%byzer deploy --infer_b": "%byzer deploy --infer_backend",
    "%byzer deploy --infer_backend lla": "%byzer deploy --infer_backend llama_cpp",
    "%byzer deploy --infer_backend=lla": "%byzer deploy --infer_backend=llama_cpp",
    "%byzer deploy --pretrained_model_type saas/opena": "%byzer deploy --pretrained_model_type saas/openai",
    "%byzer deploy --pretrained_model_type saas/openai --infer_params saas.api": (
        "%byzer deploy --pretrained_model_type saas/openai --infer_params saas.api_key="
    ),
    "%byzer deploy --model_path unusual_fo": "%byzer deploy --model_path unusual_folder/",
}


def test_tab_inserts_a_completion_in_place(notebook: Opener, lab: Lab) -> None:
    (lab.folder / "unusual_folder").mkdir(exist_ok=True)
    book = notebook(["%load_ext byzer_magic", ""])
    book.run(0)
    assert {typed: accepted(book, 1, typed) for typed in COMPLETED} == COMPLETED


def test_shift_tab_shows_help_of_the_command_at_the_cursor(notebook: Opener) -> None:
    book = notebook(["%load_ext byzer_magic", "", "%config ByzerMagics.lang = 'zh'", "%unload_ext byzer_magic", ""])
    book.run(0)
    expect(tooltip(book, 1, "%byzer")).to_contain_text("Deploy a SaaS model or local weights under an alias.")
    deploy = tooltip(book, 1, "%byzer deploy ")
    expect(deploy).to_contain_text("Usage: deploy --model TEXT [options]")
    expect(deploy).to_contain_text("--worker_concurrency N")
    book.screenshot("shift-tab-deploy")
    flag = tooltip(book, 1, "%byzer deploy --model x --infer_backend ")
    assert " ".join(flag.inner_text().split()).startswith(
        "--infer_backend TEXT engine that runs a local model (one of: auto, deepspeed, llama_cpp, transformers, vllm)"
    )
    params = tooltip(book, 1, "%byzer deploy --pretrained_model_type saas/openai --infer_params saas.")
    expect(params).to_contain_text("saas.base_url=")
    book.screenshot("shift-tab-params")
    expect(tooltip(book, 1, "%%chat")).to_contain_text("Usage: %%chat [options] MODEL [QUERY]")
    expect(tooltip(book, 1, "x = len(")).to_contain_text("Return the number of items in a container.")
    book.run(2)
    expect(tooltip(book, 1, "%byzer undeploy ")).to_contain_text("用法：undeploy")
    book.run(3)
    book.clear(4)
    book.type(4, "%byzer deploy ")
    book.page.keyboard.press("Shift+Tab")
    book.page.wait_for_timeout(1000)
    assert book.page.locator(".jp-Tooltip").count() == 0, "nothing of ours is left after unload"


def test_question_mark_shows_the_same_help(notebook: Opener) -> None:
    book = notebook(["%load_ext byzer_magic", "%byzer?", "%%chat?"])
    book.run_all()
    shown = book.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)").inner_text()
    assert "Deploy a SaaS model or local weights under an alias." in shown
    assert "may be repeated" in shown
    book.screenshot("question-mark")


def test_help_of_the_magics_is_chinese(notebook: Opener) -> None:
    book = notebook(["%load_ext byzer_magic", "%config ByzerMagics.lang = 'zh'", "%byzer deploy --help", "%byzer?"])
    book.run_all()
    assert "用法：deploy --model TEXT [选项]" in book.output(2).inner_text()
    assert english(book.output(3).inner_text(), "help") == []
