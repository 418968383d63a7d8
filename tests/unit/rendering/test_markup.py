"""HTML with automatic escaping."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from markupsafe import Markup

from byzer_magic.rendering.markup import join, style, tag
from tests.pages import Page


@given(st.text(), st.text())
def test_tag_escapes_content_and_attributes(content: str, attribute: str) -> None:
    page = Page(tag("p", content, title=attribute))
    assert page.tags() == {"p"}
    assert page.elements[0][1].keys() == {"title"}


@pytest.mark.parametrize(
    ("made", "html"),
    [
        (tag("p", "<", tag("b", ">"), class_="a"), '<p class="a">&lt;<b>&gt;</b></p>'),
        (tag("img", src="x", alt=""), '<img src="x" alt="">'),
        (tag("input", hidden=True, required=False, min=None, data_a=1), '<input hidden data-a="1">'),
        (tag("i"), "<i></i>"),
    ],
)
def test_tag_writes_elements(made: Markup, html: str) -> None:
    assert made == html


def test_join_escapes_all_but_markup() -> None:
    assert join(["<", Markup("<br>"), 1]) == "&lt;<br>1"


def test_style_holds_files_as_they_are() -> None:
    assert style("answer.css").startswith("<style>")
    assert "&gt;" not in style("answer.css", "table.css")


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "java\tscript:alert(1)", "data:text/html;base64,AAAA", "//e.org/a"]
)
@pytest.mark.parametrize("attribute", ["href", "src"])
def test_tag_leaves_out_a_url_that_could_run_something(url: str, attribute: str) -> None:
    for value in (url, Markup(url)):
        assert tag("a", "x", **{attribute: value}) == "<a>x</a>"


def test_tag_keeps_urls_of_the_web_and_files() -> None:
    assert tag("a", "x", href="https://e.org/?a=1&b") == '<a href="https://e.org/?a=1&amp;b">x</a>'
    assert tag("img", src="byzer_media/a%20b.png") == '<img src="byzer_media/a%20b.png">'
