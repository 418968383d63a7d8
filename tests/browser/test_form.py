"""The deploy form in a real JupyterLab."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from byzer_magic.manager import Manager
from tests.browser.driver import Notebook
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


def fill(form: Form, provider: Process, alias: str) -> None:
    """Fill in the fields of the test provider, all but the key."""
    form.pick("openai", "OpenAI and compatible APIs")
    expect(form.input("model")).to_have_value("openai")
    form.input("model").fill(alias)
    form.input("infer_params.saas.model").fill("gpt-4o")
    form.input("infer_params.saas.base_url").fill(f"{provider.url}/v1")


def test_a_provider_is_filled_in_tested_and_deployed(
    opened: Callable[..., Form], provider: Process, manager: Manager
) -> None:
    form = opened("%byzer form", "%chat form_a hello")
    book = form.book
    fill(form, provider, "form_a")
    key = form.input("infer_params.saas.api_key")
    expect(key).to_have_attribute("type", "password")
    key.fill(WRONG)
    expect(form.line).to_contain_text("saas.api_key=${FORM_A_API_KEY}")
    expect(form.line).to_contain_text(f"saas.base_url={provider.url}/v1")
    form.button("Test connection").click()
    time.sleep(4)
    book.screenshot("form-debug")
    print(form.root.inner_html()[-3000:])
    print(form.line.inner_text())
    form.state("failed")
    assert re.search("key|401", form.stage.inner_text()), form.stage.inner_text()
    assert WRONG not in book.page.content()
    book.screenshot("form-wrong-key", book.cell(1))
    key.fill(KEY)
    form.button("Test connection").click()
    form.state("done")
    expect(form.stage).to_contain_text("It answers: chat, after")
    key.press("Enter")
    form.state("ready")
    expect(form.stage).to_contain_text("form_a is ready: 1 worker(s), can chat")
    book.dark()
    book.screenshot("form-ready-dark", book.cell(1))
    book.run(2)
    expect(book.output(2)).to_contain_text("Echo: hello")
    form.button("Chat").click()
    assert book.source(2) == "%byzer chat form_a"
    book.save()
    text = book.path.read_text()
    assert KEY not in text
    assert WRONG not in text
    assert "saas.api_key=${FORM_A_API_KEY}" in text
    form.button("Undeploy").click()
    expect(form.stage).to_have_text("form_a is undeployed.", timeout=DEPLOYED)
    assert manager.run(manager.aliases()) == []
