"""The deploy form in a real JupyterLab."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from byzer_magic.manager import Manager
from tests.browser.checks import accessible, english, walk
from tests.browser.driver import Notebook, to_html
from tests.conftest import KEY
from tests.servers.process import Process

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.timeout(300)]
Opener = Callable[[list[str]], Notebook]
WRONG = "sk-planted-wrong-77aa01"
DEPLOYED = 60_000


class Form:
    """The form of a cell."""

    def __init__(self, book: Notebook, index: int) -> None:
        self.book = book
        self.index = index
        self.root: Locator = book.cell(index).locator(".bz-form")
        self.line = self.root.locator(".bz-command code")
        self.stage = self.root.locator(".bz-stage")
        self.after = self.root.locator(".bz-after")
        expect(self.line).to_contain_text("%byzer deploy", timeout=30_000)

    def field(self, key: str) -> Locator:
        return self.root.locator(f'[data-key="{key}"]')

    def input(self, key: str) -> Locator:
        return self.field(key).locator("input, select").first

    def said(self, key: str) -> Locator:
        return self.field(key).locator(".bz-said")

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def pick(self, text: str, name: str) -> None:
        chooser = self.root.get_by_role("combobox", name="Preset, provider")
        chooser.fill(text)
        self.root.get_by_role("option").filter(has=self.book.page.locator(f'strong:text-is("{name}")')).first.click()

    def state(self, state: str) -> None:
        expect(self.root).to_have_attribute("data-state", state, timeout=DEPLOYED)


@pytest.fixture
def opened(notebook: Opener) -> Callable[..., Form]:
    def one(line: str = "%byzer form", *cells: str) -> Form:
        book = notebook(["%load_ext byzer_magic", line, *cells])
        book.run(0)
        book.run(1)
        return Form(book, 1)

    return one


def test_a_provider_is_filled_in_tested_and_deployed(opened: Callable[..., Form], provider: Process) -> None:
    form = opened("%byzer form")
    form.book.screenshot("form-empty", form.book.cell(1))
    form.pick("openai", "OpenAI and compatible APIs")
    expect(form.input("model")).to_have_value("openai")
    form.book.screenshot("form-chosen", form.book.cell(1))
