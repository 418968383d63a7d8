"""The deploy form in a real JupyterLab."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from byzer_magic.client.manager import Manager
from tests.browser.checks import accessible, english, walk
from tests.browser.driver import Notebook, to_html, until_there
from tests.conftest import KEY
from tests.servers.process import Process
from tests.waiting import eventually

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
        expect(self.line).to_contain_text("%byzer deploy")

    def field(self, key: str) -> Locator:
        return self.root.locator(f'[data-key="{key}"]')

    def input(self, key: str) -> Locator:
        return self.field(key).locator("input, select").first

    def remark(self, key: str) -> Locator:
        return self.field(key).locator(".bz-remark")

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


def test_form_tests_and_deploys_a_provider(opened: Callable[..., Form], provider: Process, manager: Manager) -> None:
    form = opened("%byzer form", "%chat form_a hello")
    book = form.book
    fill(form, provider, "form_a")
    key = form.input("infer_params.saas.api_key")
    expect(key).to_have_attribute("type", "password")
    key.fill(WRONG)
    expect(form.line).to_contain_text("saas.api_key=${FORM_A_API_KEY}")
    expect(form.line).to_contain_text(f"saas.base_url={provider.url}/v1")
    form.button("Test connection").click()
    form.state("failed")
    assert re.search("key|401", form.stage.inner_text()), form.stage.inner_text()
    assert WRONG not in book.page.content()
    book.screenshot("form-wrong-key", book.cell(1))
    expect(form.line).to_contain_text("--check")
    key.press("Enter")
    expect(form.root).to_contain_text("form_a is not deployed: the check failed.", timeout=DEPLOYED)
    key.fill(KEY)
    form.button("Test connection").click()
    form.state("done")
    expect(form.stage).to_contain_text("Connection works: chat,")
    key.press("Enter")
    form.state("ready")
    expect(form.stage).to_contain_text(
        re.compile(r"^ready in \d.* s - 1 worker, capabilities: chat.*; check passed in")
    )
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
    form.button("Really undeploy form_a?").click()
    expect(form.stage).to_have_text("form_a: undeployed.", timeout=DEPLOYED)
    assert manager.run(manager.aliases()) == []


def test_form_reports_errors_while_typing(opened: Callable[..., Form]) -> None:
    form = opened("%byzer form saas/claude")
    expect(form.input("infer_params.saas.model")).to_be_visible()
    form.input("num_workers").fill("0")
    expect(form.remark("num_workers")).to_contain_text("below its minimum of 1")
    expect(form.input("num_workers")).to_have_attribute("aria-invalid", "true")
    expect(form.line).not_to_contain_text("num_workers")
    form.input("num_workers").fill("2")
    expect(form.remark("num_workers")).to_contain_text("number of workers")
    expect(form.line).to_contain_text("--num_workers 2")
    form.input("num_workers").press("ArrowUp")
    expect(form.line).to_contain_text("--num_workers 3")
    form.root.get_by_text("Settings of saas/claude").click()
    form.input("infer_params.saas.extra_body").fill("{")
    expect(form.remark("infer_params.saas.extra_body")).to_contain_text("not valid JSON")
    form.button("Deploy").click()
    form.state("failed")
    expect(form.stage).to_contain_text("check 3 fields")
    expect(form.remark("infer_params.saas.model")).to_contain_text("needs saas.model")
    expect(form.input("infer_params.saas.model")).to_be_focused()
    form.book.screenshot("form-errors", form.book.cell(1))
    accessible(form.root)
    form.book.dark()
    accessible(form.root)


def test_form_is_filled_by_a_pasted_command(opened: Callable[..., Form]) -> None:
    form = opened()
    form.button("Paste a command").click()
    area = form.root.get_by_role("textbox", name="Paste a command")
    area.fill("byzerllm stat --model a")
    form.button("Fill the form").click()
    expect(form.root.locator(".bz-paste .bz-bad")).to_contain_text("does not deploy anything")
    area.fill(
        "byzerllm deploy --pretrained_model_type saas/azure_openai --worker_concurrency 10 --num_workers 2 "
        f'--infer_params saas.azure_endpoint="https://x.openai.azure.com/" saas.api_key="{KEY}" saas.model=gpt-4o '
        "--model gpt4o_chat"
    )
    area.press("Control+Enter")
    expect(form.input("infer_params.saas.azure_endpoint")).to_have_value("https://x.openai.azure.com/")
    expect(form.input("infer_params.saas.api_key")).to_have_value(KEY)
    expect(form.input("num_workers")).to_have_value("2")
    expect(form.line).to_contain_text("saas.api_key=${AZURE_OPENAI_API_KEY}")
    form.button("Insert as cell").click()
    assert form.book.source(2).startswith("%byzer deploy --model gpt4o_chat")
    form.button("As YAML").click()
    expect(form.line).to_contain_text("saas.api_key: ${AZURE_OPENAI_API_KEY}")
    form.button("Insert as cell").click()
    assert form.book.source(2).startswith("%%writefile gpt4o_chat.yml\nmodel: gpt4o_chat\n")
    assert form.book.source(3) == "%byzer deploy --file gpt4o_chat.yml"
    form.book.save()
    assert KEY not in form.book.path.read_text()
    assert "metadata.widgets" not in form.book.path.read_text()


def test_form_takes_a_key_from_a_variable_and_reads_a_yaml_file(opened: Callable[..., Form], lab) -> None:  # type: ignore[no-untyped-def]  # a fixture
    Path(lab.folder, "deploy.yml").write_text(
        f"model: from_file\npretrained_model_type: saas/openai\nsaas.model: gpt-4o\nsaas.api_key: {KEY}\n"
    )
    form = opened("import os; os.environ['MY_TEST_TOKEN'] = 'k-12345'\n%byzer form --file deploy.yml")
    expect(form.input("infer_params.saas.api_key")).to_have_value(KEY)
    source = form.field("infer_params.saas.api_key").locator("select")
    source.select_option("${MY_TEST_TOKEN}")
    expect(form.line).to_contain_text("saas.api_key=${MY_TEST_TOKEN}")
    expect(form.input("infer_params.saas.api_key")).to_have_attribute("type", "text")
    expect(form.remark("infer_params.saas.api_key")).not_to_have_class(re.compile("bz-bad"))


def test_form_checks_cancels_and_deploys_a_local_model(
    opened: Callable[..., Form], gguf: Path, manager: Manager
) -> None:
    form = opened(
        f"import os; os.environ['BYZER_MODELS'] = {str(gguf.parent)!r}\n%byzer form", "%chat smol hi --max_tokens 5"
    )
    chooser = form.root.get_by_role("combobox", name="Preset, provider")
    option = form.root.get_by_role("option").filter(has_text=gguf.stem)
    chooser.fill("smollm2")
    expect(option.first).to_be_visible()
    form.book.screenshot("form-chooser", form.book.cell(1))
    chooser.press("Enter")
    expect(form.input("model_path")).to_have_value(str(gguf))
    expect(form.input("infer_backend")).to_have_value("llama_cpp")
    form.input("model").fill("smol")
    form.button("Check the model").click()
    form.state("done")
    expect(form.after).to_contain_text("total")
    form.book.screenshot("form-checked", form.book.cell(1))
    form.button("Deploy").click()
    form.state("running")
    expect(form.button("Cancel")).to_be_focused()
    form.book.page.keyboard.press("Escape")
    form.state("stopped")
    expect(form.stage).to_contain_text("Nothing was left behind")
    assert manager.run(manager.aliases()) == []
    form.button("Deploy").click()
    form.state("ready")
    form.book.run(2)
    assert not form.book.failed(2)
    form.book.screenshot("form-local-ready", form.book.cell(1))


def test_form_run_again_cancels_the_deploy(opened: Callable[..., Form], gguf: Path, manager: Manager) -> None:
    form = opened("%byzer form llama_cpp")
    form.input("model").fill("again")
    form.input("model_path").fill(str(gguf))
    form.button("Deploy").click()
    form.state("running")
    form.book.run(1)
    again = Form(form.book, 1)
    expect(again.root).to_have_count(1)
    assert eventually(lambda: manager.run(manager.aliases()) == [], pause=0.2)


def test_form_works_while_a_cell_runs(opened: Callable[..., Form], tmp_path: Path) -> None:
    form = opened("%byzer form deepseek-chat", until_there(tmp_path / "end"))
    running = form.book.run(2, wait=False).locator(".jp-InputPrompt")
    expect(running).to_have_text("[*]:")
    form.input("model").fill("while_busy")
    expect(form.line).to_contain_text("while_busy")
    assert running.inner_text().strip() == "[*]:", "the cell still runs"
    (tmp_path / "end").touch()
    form.book.wait(2)


def test_form_saves_a_command_and_no_widget(opened: Callable[..., Form]) -> None:
    form = opened("%byzer form deepseek-chat")
    form.input("infer_params.saas.api_key").fill(KEY)
    expect(form.line).to_contain_text("${DEEPSEEK_API_KEY}")
    expect(form.book.cell(1).locator(".bz-form-still")).to_be_hidden()
    form.book.reopen()
    cell = form.book.cell(1)
    expect(cell.locator(".bz-form-still")).to_be_visible()
    expect(cell).to_contain_text("saas.api_key=${DEEPSEEK_API_KEY}")
    expect(cell).to_contain_text("is not stored")
    assert "not found" not in cell.inner_text()
    form.book.screenshot("form-saved", cell)
    outputs = form.book.saved()["cells"][1]["outputs"]
    assert all("text/plain" in output["data"] and "text/html" in output["data"] for output in outputs)
    assert not any("widget" in kind for output in outputs for kind in output["data"])
    page = to_html(form.book.path).read_text()
    assert "deploy --model deepseek_chat" in page
    assert KEY not in page + json.dumps(form.book.saved())


def test_form_reports_a_restarted_kernel(opened: Callable[..., Form]) -> None:
    form = opened("%byzer form deepseek-chat")
    form.book.restart()
    cell = form.book.cell(1)
    expect(cell).to_contain_text("The kernel was restarted. Run this cell again")
    expect(cell.locator(".bz-form-still")).to_be_visible()


def test_form_is_accessible_and_chinese(opened: Callable[..., Form]) -> None:
    form = opened("%config ByzerMagics.lang = 'zh'\n%byzer form deepseek-chat")
    stops = walk(form.root)
    assert stops[0] == "input 预设、服务商、引擎或本地模型"
    assert "button 部署" in stops
    assert stops.index("input 别名*") < stops.index("button 部署")
    assert english(form.root.inner_text(), "form") == []
    form.book.screenshot("form-chinese", form.book.cell(1))
    accessible(form.root)
    chooser = form.root.get_by_role("combobox").first
    chooser.focus()
    chooser.press("ArrowDown")
    accessible(form.root)
    chooser.press("Escape")
    expect(form.root.get_by_role("listbox")).to_be_hidden()


def test_form_in_a_terminal_is_help_and_a_command(ipython: Callable[..., str]) -> None:
    text = ipython(["%load_ext byzer_magic", "%byzer form deepseek-chat"])
    assert "%byzer deploy --model deepseek_chat" in text
    assert "--num_workers" in text


THREADS = "import threading; print(*(one.name for one in threading.enumerate() if one.name == 'byzer-form'), 'end')"


def test_forms_are_independent_and_leave_no_threads(opened: Callable[..., Form]) -> None:
    first = opened("%byzer form deepseek-chat", "%byzer form llama_cpp", THREADS)
    book = first.book
    book.run(2)
    second = Form(book, 2)
    first.root.get_by_label("Alias").fill("one")
    second.root.get_by_label("Alias").fill("two")
    expect(first.line).to_contain_text("--model one")
    expect(second.line).to_contain_text("--model two --infer_backend llama_cpp")
    book.run(3)
    expect(book.output(3)).to_have_text("byzer-form byzer-form end")
    book.run(2)
    book.run(3)
    expect(book.output(3)).to_have_text("byzer-form byzer-form end")  # the older form of the cell has ended
    book.run(2)
    book.command("notebook:delete-cell")
    forms = 1 + THREADS.count("byzer-form ")
    assert eventually(lambda: book.run(2).inner_text().count("byzer-form ") == forms, pause=1), book.output(2)
    book.run(0)
    expect(first.line).to_contain_text("--model one")


def test_form_shows_the_log_of_a_failed_engine(opened: Callable[..., Form], gguf: Path) -> None:
    form = opened("%byzer form llama_cpp")
    form.input("model").fill("broken")
    form.input("model_path").fill(str(gguf))
    form.root.get_by_text("Settings of").click()
    form.root.get_by_role("searchbox", name="Find a setting").fill("chat_format")
    form.input("infer_params.chat_format").fill("nonsense")
    form.button("Deploy").click()
    form.state("failed")
    expect(form.stage).to_contain_text("nonsense")
    expect(form.remark("infer_params.chat_format")).to_have_class(re.compile("bz-bad"))
    expect(form.after.locator("details")).not_to_have_attribute("open", "")
    form.after.locator("summary").click()
    expect(form.after.locator("pre")).not_to_be_empty()
    form.book.screenshot("form-failed", form.book.cell(1))
