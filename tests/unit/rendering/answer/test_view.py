"""Answers as HTML: Markdown is rendered, raw HTML stays text, and a partial answer is rendered like a complete one."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings, strategies as st

from byzer_magic.i18n import using
from byzer_magic.rendering.answer import code, markdown
from byzer_magic.rendering.answer.view import Shown, View, as_markdown, bundle
from tests.answers import TEXTS

OURS = re.compile(
    "a|blockquote|br|button|code|del|details|div|em|h[1-6]|hr|img|li|ol|p|pre|s|script|small|span|strong|style|summary|"
    "table|tbody|td|th|thead|tr|ul|math|mrow|mi|mn|mo|mtext|ms|mspace|msup|msub|msubsup|munder|mover|munderover|mfrac|"
    "msqrt|mroot|mtable|mtr|mtd|mstyle|mpadded|mphantom|menclose"
)


ATTRIBUTES = re.compile(
    "alt|class|data-done|data-fold|data-key|hidden|href|onclick|rel|src|start|style|tabindex|target|title|type|display|"
    "displaystyle|scriptlevel|stretchy|fence|form|separator|accent|accentunder|movablelimits|largeop|symmetric|lspace|"
    "rspace|minsize|maxsize|linethickness|width|height|depth|mathvariant|mathcolor|mathbackground"
)


class Tags(HTMLParser):
    """Collects every tag and attribute."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


def check_safe(page: str) -> None:
    found = Tags(page)
    assert all(map(OURS.fullmatch, found.tags))
    for name, value in found.attributes:
        assert ATTRIBUTES.fullmatch(name)
        if name == "onclick":
            assert value == code.COPY
        if name == "href":
            assert re.match(r"https?://|mailto:", value or "", re.IGNORECASE)
        if name == "src":
            assert (value or "").startswith("data:image/")


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_view_never_runs_anything_of_an_answer(text: str) -> None:
    page = markdown.render(text)
    check_safe(page)
    assert "<script" not in page
    assert "<img" not in page, "remote images are not loaded"


@given(TEXTS, st.text(max_size=40))
@settings(max_examples=60, deadline=None)
def test_view_never_runs_anything_of_reasoning_tools_and_footer(text: str, other: str) -> None:
    call = {"function": {"name": other, "arguments": text}}
    page = View().inner(Shown(text=other, reasoning=text, tool_calls=[call], footer=text))
    assert page.count("<script>") == 1
    check_safe(page)


def test_view_output_depends_on_its_parts_only() -> None:
    shown = Shown(
        text="**a**", reasoning="r", tool_calls=[{"function": {"name": "f", "arguments": '{"x":1}'}}], footer="end"
    )
    view = View()
    for end in range(len(shown.text)):
        view.html(Shown(text=shown.text[:end], reasoning="r", done=False))
    assert view.html(shown) == View().html(shown)
    found = bundle(shown)
    assert list(found) == ["text/html", "text/markdown", "text/plain"]
    assert found["text/plain"] == '**a**\n\nf({"x":1})\n\nend'
    assert "<summary>Reasoning</summary>" in found["text/html"]


def test_view_labels_reasoning() -> None:
    assert "Thinking" in View().html(Shown(reasoning="hm", done=False))
    with using("zh"):
        assert "思考过程" in View().html(Shown(text="a", reasoning="hm"))


@pytest.mark.parametrize(("style", "shown"), [("json", '{\n  "a": 1\n}'), ("code", '{"a": 1}'), ("text", "{&quot;")])
def test_view_formats(style: str, shown: str) -> None:
    text = '```json\n{"a": 1}\n```'
    page = re.sub(r"<[^>]+>", "", View(style).inner(Shown(text=text)))
    assert (shown in page.replace("&quot;", '"')) or style == "text"
    assert "{" in as_markdown(Shown(text=text), style)
