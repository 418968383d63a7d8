"""Chinese screens: no English of ours is left on them, and they are as accessible as the English ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator

from tests.browser.checks import accessible, english
from tests.browser.conftest import Lab, Models
from tests.browser.driver import Notebook
from tests.models import speech

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.timeout(400)]
SCREENS = {
    "%byzer panel": "panel",
    "%byzer stat": "panel",
    "%byzer plot --model m": "panel",
    "%byzer form deepseek-chat": "form",
    "%byzer chat m": "chat",
    "%%chat m\nthink:well": "chat",
    "%%chat m,other\nhello": "columns",
    "%%chat voice\nHello.": "media",
    "%%chat draw\na cat": "media",
    f"%chat listen --audio {speech.sentence(1)}": "media",
    "%%chat locked\nhello": "failure",
}
"""Cells, and the file of texts that their screens are written from."""
SOME = ("%byzer panel", "%%chat m,other\nhello", "%%chat locked\nhello")
"""Of these, one of each kind: a screen of JavaScript, an answer, an error."""
NAMES = """node => [...node.querySelectorAll('[aria-label], [title], [placeholder], [alt]')].flatMap(
    (each) => ['aria-label', 'title', 'placeholder', 'alt'].map((name) => each.getAttribute(name) || '')
).join('\\n')"""


@pytest.mark.parametrize(
    ("how", "sources"), [("config", tuple(SCREENS)), ("environment", SOME)], ids=["config", "environment"]
)
def test_chinese_screens_have_no_english(
    notebook: Callable[[list[str]], Notebook], models: Models, lab: Lab, how: str, sources: tuple[str, ...]
) -> None:
    kept = {"m": "gpt-4o", "other": "gpt-4o", "voice": "tts-1", "draw": "gpt-image-1.5", "listen": "whisper-1"}
    models.keep(**kept, wrong_key="locked")
    setting = {"config": "%config ByzerMagics.lang = 'zh'", "environment": "import os; os.environ['BYZER_LANG'] = 'zh'"}
    book = notebook(["%load_ext byzer_magic", setting[how], *sources])
    book.run_all(seconds=120)
    book.enlarge()
    book.screenshot(f"chinese-{how}")
    left = {
        source: english(
            readable(book.output(index)), SCREENS[source], *(["footer"] if source.startswith("%%chat") else [])
        )
        for index, source in enumerate(sources, start=2)
    }
    assert {source: words for source, words in left.items() if words} == {}
    accessible(*(book.output(index) for index in range(2, len(sources) + 2)))


def test_search_for_english_finds_it(notebook: Callable[[list[str]], Notebook], models: Models) -> None:
    models.keep(m="gpt-4o")
    book = notebook(["%load_ext byzer_magic", "%byzer stat", "%byzer form deepseek-chat"])
    book.run_all()
    book.enlarge(3000)
    assert "Queue" in english(readable(book.output(1)), "panel")
    assert len(english(readable(book.output(2)), "form")) > 10


def readable(output: Locator) -> str:
    """Return what is read of an output, also with a screen reader."""
    return f"{output.inner_text()}\n{output.evaluate(NAMES)}"
