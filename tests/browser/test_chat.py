"""Chat in a real JupyterLab: the window of `%byzer chat`, and the answers of `%%chat`."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.checks import accessible, walk
from tests.browser.driver import Notebook, to_html, until_there
from tests.servers.process import Process, release
from tests.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.timeout(300)]
Opener = Callable[[list[str]], Notebook]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060000000040001f61738550000"
    "000049454e44ae426082"
)
ANSWER = r"""## Load

The load is $\rho = \lambda / \mu$; it costs $5 or $6.

| worker | slots |
|--------|------:|
| a      | 16    |

```python
def answer(prompt: str) -> str:
    return prompt.upper()  # loud
```

$$
L_q = \frac{\rho^2}{1 - \rho}
$$
"""


class Chat:
    """The window of a cell."""

    def __init__(self, book: Notebook, index: int) -> None:
        self.root: Locator = book.cell(index).locator(".bz-chat")
        self.input = self.root.locator(".bz-chat-row textarea")
        self.status = self.root.locator(".bz-chat-status")
        self.turns = self.root.locator(".bz-chat-turn")
        self.page = book.page

    def send(self, text: str) -> None:
        self.input.fill(text)
        self.input.press("Enter")

    def ask(self, text: str) -> Locator:
        """Ask, and return the turn once it has ended."""
        count = self.turns.count()
        self.send(text)
        expect(self.turns).to_have_count(count + 1)
        expect(self.turns.nth(count)).to_have_attribute("aria-busy", "false")
        return self.turns.nth(count)

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def act(self, turn: Locator, name: str) -> None:
        turn.locator(".bz-chat-tools").get_by_role("button", name=re.compile(f"^{name}")).click()

    def choose(self, label: str, value: str) -> None:
        self.root.get_by_label(label, exact=True).select_option(value)


@pytest.fixture
def opened(notebook: Opener, models) -> Callable[..., tuple[Notebook, Chat]]:  # type: ignore[no-untyped-def]  # of the conftest
    def one(*cells: str, alias: str = "m", model: str = "gpt-4o") -> tuple[Notebook, Chat]:
        models.keep(**{alias: model})
        book = notebook(["%load_ext byzer_magic", f"%byzer chat {alias}", *cells])
        book.run(0)
        book.run(1)
        chat = Chat(book, 1)
        expect(chat.input).to_be_visible()
        return book, chat

    return one


def test_chat_streams_an_answer_and_can_be_stopped(opened) -> None:  # type: ignore[no-untyped-def]  # a fixture
    book, chat = opened()
    chat.send("tokens:4000@40")
    expect(chat.turns.last).to_contain_text("t10")
    assert "t3000" not in chat.turns.last.inner_text()
    chat.button("Stop").click()
    expect(chat.status).to_have_text("Stopped. The partial answer is kept.")
    assert "interrupted" in chat.turns.last.inner_text()
    assert chat.input.evaluate("node => node === document.activeElement"), "the focus is where one writes"
    turn = chat.ask(f"say:{ANSWER}")
    expect(turn.locator("math")).to_have_count(2)
    expect(turn.locator("td").first).to_have_text("a")
    book.screenshot("chat-light", book.cell(1))
    book.dark()
    book.screenshot("chat-dark", book.cell(1))


def test_chat_leaves_a_reader_who_scrolls_up_in_place(opened) -> None:  # type: ignore[no-untyped-def]  # a fixture
    _, chat = opened()
    chat.ask("say:" + "\n\n".join(f"line {number}" for number in range(60)))
    log = chat.root.locator(".bz-chat-log")
    assert log.evaluate("node => node.scrollHeight - node.scrollTop - node.clientHeight") < 3
    chat.send("tokens:4000@60")
    expect(chat.turns.last).to_contain_text("t30")
    assert log.evaluate("node => node.scrollHeight - node.scrollTop - node.clientHeight") < 60
    log.evaluate("node => { node.scrollTop = 100; }")
    expect(chat.turns.last).to_contain_text("t120")
    assert log.evaluate("node => node.scrollTop") == 100
    chat.button("Stop").click()
    expect(chat.turns.last).to_have_attribute("aria-busy", "false")


def test_chat_works_while_a_cell_runs(opened, tmp_path) -> None:  # type: ignore[no-untyped-def]  # fixtures
    book, chat = opened(until_there(tmp_path / "end"))
    book.run(2, wait=False)
    expect(book.cell(2).locator(".jp-InputPrompt")).to_have_text("[*]:")
    chat.ask("tokens:20@20")
    assert book.cell(2).locator(".jp-InputPrompt").inner_text().strip() == "[*]:", "the cell still runs"
    (tmp_path / "end").touch()
    book.wait(2)


def test_chat_copies_code_and_answers(opened) -> None:  # type: ignore[no-untyped-def]  # a fixture
    _, chat = opened()
    turn = chat.ask(f"say:{ANSWER}")
    turn.locator(".bz-copy").click()
    expect(turn.locator(".bz-copy")).to_have_text("Copied")
    assert chat.page.evaluate("navigator.clipboard.readText()").startswith("def answer(prompt: str)")
    chat.act(turn, "Copy")
    expect(chat.status).to_have_text("Copied.")
    assert "| worker | slots |" in chat.page.evaluate("navigator.clipboard.readText()")


def test_chat_edit_and_retry_replace_later_turns(opened) -> None:  # type: ignore[no-untyped-def]  # a fixture
    _, chat = opened()
    first = chat.ask("say:one")
    chat.ask("say:two")
    chat.act(first, "Edit")
    place = chat.turns.first.locator("textarea")
    place.fill("say:three")
    place.press("Enter")
    expect(chat.turns).to_have_count(1)
    expect(chat.turns.first.locator(".bz-answer")).to_contain_text("three")
    expect(chat.turns.first).to_have_attribute("aria-busy", "false")
    number = chat.turns.first.get_attribute("data-turn")
    chat.act(chat.turns.first, "Retry")
    expect(chat.turns.first).not_to_have_attribute("data-turn", str(number))
    expect(chat.turns.first.locator(".bz-answer")).to_contain_text("three")
    chat.act(chat.turns.first, "Edit")
    chat.turns.first.locator("textarea").press("Escape")
    expect(chat.turns.first.locator("textarea")).to_have_count(0)
    expect(chat.turns.first.locator(".bz-chat-you")).to_have_text("say:three")


def test_chat_attaches_images_and_refuses_audio(opened, tmp_path) -> None:  # type: ignore[no-untyped-def]  # fixtures
    book, chat = opened()
    file = tmp_path / "photo.png"
    file.write_bytes(PNG)
    chat.root.locator("input[type=file]").set_input_files(file)
    chip = chat.root.locator(".bz-chat-chips .bz-chip")
    expect(chip).to_contain_text("photo.png")
    chip.get_by_role("button", name="Remove photo.png").click()
    expect(chip).to_have_count(0)
    chat.page.evaluate(
        """([root, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(bytes)], 'dropped.png', {type: 'image/png'}));
            root.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
        }""",
        [chat.root.element_handle(), list(PNG)],
    )
    expect(chip).to_contain_text("dropped.png")
    turn = chat.ask("What is it?")
    expect(turn.locator(".bz-chat-you img")).to_have_count(1)
    expect(turn.locator(".bz-answer")).to_contain_text("Echo")
    book.screenshot("chat-image", book.cell(1))
    audio = tmp_path / "talk.wav"
    audio.write_bytes(b"RIFF")
    chat.root.locator("input[type=file]").set_input_files(audio)
    expect(chat.status).to_contain_text("m does not accept audio.")
    expect(chip).to_have_count(0)


def test_chat_shares_its_session_with_cells(opened) -> None:  # type: ignore[no-untyped-def]  # a fixture
    book, chat = opened("%%chat m --session chat-1\nsay:from a cell", "%byzer sessions")
    chat.ask("say:from the window")
    book.run(2)
    expect(chat.turns).to_have_count(2)
    expect(chat.turns.last.locator(".bz-answer")).to_contain_text("from a cell")
    book.run(3)
    assert re.search(r"chat-1\s+2", book.output(3).inner_text())
    chat.choose("Session", "")
    expect(chat.turns).to_have_count(0)
    chat.ask("say:again")
    chat.choose("Session", "chat-1")
    expect(chat.turns).to_have_count(2)


def test_chat_sends_settings_and_switches_models(opened, models, provider) -> None:  # type: ignore[no-untyped-def]  # fixtures
    _, chat = opened()
    models.deploy("voice", "tts-1")
    chat.button("Settings").click()
    chat.root.get_by_label("System prompt").fill("be brief")
    chat.root.get_by_label("Temperature").fill("0.3")
    chat.root.get_by_label("Other parameters (key=value)").fill("seed=7")
    chat.button("Settings").click()
    chat.ask("hello")
    sent = next(entry for entry in reversed(provider.get("/journal")) if "be brief" in str(entry))
    assert "0.3" in str(sent)
    chat.root.get_by_label("Model", exact=True).focus()
    expect(chat.root.get_by_label("Model", exact=True).locator("option")).to_have_count(2, timeout=60_000)
    chat.choose("Model", "voice")
    expect(chat.button("Attach")).to_be_hidden()
    turn = chat.ask("Hello there.")
    expect(turn.locator("audio")).to_have_count(1)


def test_chat_exports_to_cells_and_markdown(opened) -> None:  # type: ignore[no-untyped-def]  # a fixture
    book, chat = opened()
    chat.ask("say:**one**")
    chat.root.get_by_label("Export the conversation").select_option("to_cells")
    expect(chat.status).to_have_text("Cells added below: 1.")
    assert book.source(2) == "%%chat m --session chat-1 --reset\nsay:**one**"
    chat.ask("say:two")
    chat.root.get_by_label("Export the conversation").select_option("to_note")
    expect(chat.status).to_have_text("Cells added below: 1.")
    assert book.source(2).endswith("**m**\n\ntwo")
    chat.root.get_by_label("Export the conversation").select_option("to_clipboard")
    expect(chat.status).to_have_text("Copied.")
    with chat.page.expect_download() as waiting:
        chat.root.get_by_label("Export the conversation").select_option("to_file")
    assert waiting.value.suggested_filename == "chat-1.md"


def test_chat_shows_an_error_in_its_turn(opened) -> None:  # type: ignore[no-untyped-def]  # a fixture
    book, chat = opened()
    turn = chat.ask("fault:context")
    expect(turn.locator(".bz-chat-error")).to_contain_text("maximum context length")
    assert chat.ask("say:fine").locator(".bz-answer").inner_text().startswith("fine")
    book.screenshot("chat-error", book.cell(1))


def test_chat_run_again_stops_the_running_answer(opened, manager) -> None:  # type: ignore[no-untyped-def]  # fixtures
    book, chat = opened()
    chat.send("tokens:4000@40")
    expect(chat.turns.last).to_contain_text("t10")
    book.run(1)
    expect(book.cell(1).locator(".bz-chat")).to_have_count(1)
    assert eventually(lambda: manager.run(manager.stat("m")).busy == 0)


def test_chat_transcript_is_readable_without_its_kernel(opened) -> None:  # type: ignore[no-untyped-def]  # a fixture
    book, chat = opened()
    chat.ask(f"say:{ANSWER}")
    assert not book.cell(1).locator(".bz-chat-kept").is_visible(), "the window is there instead"
    book.reopen()
    kept = book.cell(1).locator(".bz-chat-kept")
    expect(kept).to_be_visible()
    assert "def answer(prompt: str)" in kept.inner_text()
    assert "not found" not in book.cell(1).inner_text()
    book.screenshot("chat-next-day", book.cell(1))
    assert "def answer" not in str(book.saved()["metadata"])
    assert "bz-chat-kept" in to_html(book.path).read_text()


def test_chat_transcript_outlives_its_kernel(opened) -> None:  # type: ignore[no-untyped-def]  # a fixture
    book, chat = opened()
    chat.ask("say:the first answer")
    chat.send("tokens:400@20")
    expect(chat.turns.last).to_contain_text("t80")
    chat.input.fill("half a thought")
    book.restart()
    expect(chat.status).to_have_text(re.compile("Run the cell again.\\s*half a thought"))
    expect(chat.turns.last).to_contain_text("t80")
    expect(chat.root.get_by_role("button")).to_have_count(0)
    book.reopen()
    kept = book.cell(1).locator(".bz-chat-kept")
    expect(kept).to_be_visible()
    for text in ("the first answer", "tokens:400@20", "t10"):
        expect(kept).to_contain_text(text)


def test_chat_is_accessible(opened) -> None:  # type: ignore[no-untyped-def]  # a fixture
    book, chat = opened()
    chat.ask(f"say:{ANSWER}")
    chat.button("Settings").click()
    stops = walk(chat.root)
    assert {"select Model", "select Session", "button Settings", "textarea System prompt", "button Send"} <= set(stops)
    for dark in (False, True):
        book.dark(on=dark)
        accessible(chat.root)


GROWTH = """cell => {
    const heights = [];
    window.bzHeights = new Promise(done => {
        const look = () => {
            heights.push(cell.querySelector('.jp-Cell-outputArea').offsetHeight);
            if (cell.querySelector('.bz-footer')) done(heights);
            else requestAnimationFrame(look);
        };
        look();
    });
}"""


def test_answer_cell_grows_and_never_shrinks(notebook, models, provider: Process) -> None:  # type: ignore[no-untyped-def]  # fixtures
    models.keep(m="gpt-4o")
    book = notebook(["%load_ext byzer_magic", "%%chat m\nrest:grows tokens:300@100"])
    book.run(0)
    cell = book.run(1, wait=False)
    expect(cell.locator(".bz-answer")).to_contain_text("t1")
    cell.evaluate(GROWTH)
    release(provider, "grows")
    heights = book.page.evaluate("window.bzHeights")
    assert heights[0] < heights[-1], "it was looked at before the rest came"
    assert heights == sorted(heights), "between two frames it is never empty"


def test_answer_cell_shows_that_it_waits(notebook, models, provider: Process) -> None:  # type: ignore[no-untyped-def]  # fixtures
    models.keep(m="gpt-4o")
    book = notebook(["%load_ext byzer_magic", "%%chat m\nheld:shown hello"])
    book.run(0)
    cell = book.run(1, wait=False)
    expect(cell.locator(".bz-progress")).to_have_text(re.compile(r"m waiting \d+ s"))
    release(provider, "shown")
    book.wait(1)
    expect(cell.locator(".bz-answer")).to_contain_text("Echo")
    expect(cell.locator(".bz-progress")).to_have_count(0)


def test_answer_fold_stays_open_while_streaming(notebook, models) -> None:  # type: ignore[no-untyped-def]  # fixtures
    models.keep(m="gpt-4o")
    cells = ["%load_ext byzer_magic", STREAM]
    book = notebook(cells)
    book.run(0)
    cell = book.run(1, wait=False)
    fold = cell.locator("details.bz-fold")
    expect(fold.locator("summary")).to_have_text("Thinking …")
    fold.locator("summary").click()
    expect(cell.locator(".bz-answer")).to_contain_text("word 20")
    assert fold.evaluate("node => node.open"), "many updates later"
    book.wait(1)
    assert fold.evaluate("node => node.open"), "in the last one, too"
    assert fold.locator("summary").inner_text() == "Reasoning"
    assert cell.locator(".bz-answer").count() == 1
    assert not book.failed(1)


STREAM = """
import asyncio
from types import SimpleNamespace
from byzer_magic.client.converse import Exchange
from byzer_magic.magics.show import output_for
from byzer_magic.types import ChatChunk, ChatRequest

async def ask(*_):
    for number in range(60):
        await asyncio.sleep(0.05)
        yield ChatChunk(reasoning=f"thought {number} ")
    for number in range(60):
        await asyncio.sleep(0.03)
        yield ChatChunk(text=f"word {number} ")

_ = output_for(get_ipython()).answer(Exchange(SimpleNamespace(ask=ask), "m", ChatRequest(messages=[])), "markdown")
"""
