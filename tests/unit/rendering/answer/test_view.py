"""Answers as HTML: what Markdown makes is shown, what a model makes up stays text, and parts come as the whole."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings, strategies as st

from byzer_magic.i18n import using
from byzer_magic.rendering.answer import code, markdown
from byzer_magic.rendering.answer.view import Shown, View, as_markdown, bundle

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
PIECES = st.sampled_from([
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</div>", "</code></pre><b>", "<!--", "]]>", "<br>",
    "`", "``", "```", "```html", "~~~", "$", "$$", "\\(", "\\)", "\\[", "\\]", "\\text{<b>}", "|a|b|", "|-|-|",
    "\\href{javascript:x}{y}", "\\begin{align}", "\\end{align}", "a & b", "&lt;b&gt;", "<https://e.org>",
    "[x](javascript:alert(1))", "[x](https://e.org)", "![p](http://e.org/x)", "https://e.org/<b>",
    "[r]", "[r]: https://e.org/a", "[r]: javascript:x", "**", "_", "~~", '"', "'", "\r", "\t", "é",
    "- ", "1. ", "> ", "# ", "===", "---", "    ", "\n", "\n", "\n\n", " ", "word",
])  # fmt: skip
TEXTS = st.lists(PIECES, max_size=40).map("".join)


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
@settings(max_examples=400, deadline=None)
def test_nothing_of_an_answer_becomes_a_tag_or_an_address_that_runs(text: str) -> None:
    page = markdown.render(text)
    check_safe(page)
    assert "<script" not in page
    assert "<img" not in page, "pictures from elsewhere are not loaded"


@given(TEXTS, st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_nor_of_reasoning_tools_and_footer(text: str, other: str) -> None:
    call = {"function": {"name": other, "arguments": text}}
    page = View().inner(Shown(text=other, reasoning=text, tool_calls=[call], footer=text))
    assert page.count("<script>") == 1
    check_safe(page)


@given(st.lists(TEXTS, max_size=6))
@settings(max_examples=300, deadline=None)
def test_rendered_while_it_comes_it_is_what_it_is_when_it_is_whole(parts: list[str]) -> None:
    stream = markdown.Stream()
    text = ""
    for part in parts:
        text += part
        assert "".join(stream.blocks(text)) == markdown.render(text)


def test_letter_by_letter_it_is_the_same() -> None:
    text = (
        "# One\n\npara\n- a\n- b\n\n1. x\n\n   y\n\na|b\n-|-\n1|2\n\n$$\nx\n$$\n\n```py\nx = 1\n```\n\n[r] and [s]\n"
        "===\n> q\nlazy\n\n\\[ a \\]\n\n[r]: https://e.org/one\n[s]: https://e.org/two\n\nend [r]"
    )
    stream = markdown.Stream()
    for end in range(len(text) + 1):
        assert "".join(stream.blocks(text[:end])) == markdown.render(text[:end]), text[:end]


def test_what_is_settled_is_not_rendered_again() -> None:
    stream = markdown.Stream()
    text = "\n\n".join(f"paragraph {number}" for number in range(50))
    stream.blocks(text)
    assert len(text) - stream._from < 40


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("it costs $5 or $6", "<p>it costs $5 or $6</p>"),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>"),
        ("[x](https://e.org)", '<a href="https://e.org" target="_blank" rel="noopener noreferrer">x</a>'),
        ("see https://e.org/a_b?c=1.", 'href="https://e.org/a_b?c=1"'),
        ("见https://e.org/路。好", "</a>。好"),
        ("![a cat](https://e.org/x.png)", ">image: a cat (e.org)</a>"),
        ("![dot](data:image/png;base64,AAAA)", '<img src="data:image/png;base64,AAAA" alt="dot">'),
        ("|a|\n|-|\n|1<br>2|", "1<br />\n2"),
        ("~~no~~", "<s>no</s>"),
        ("<b>x</b>", "&lt;b&gt;x&lt;/b&gt;"),
    ],
)
def test_markdown_of_models(text: str, shown: str) -> None:
    assert shown in markdown.render(text)


@pytest.mark.parametrize(
    "text", [r"\(x^2\)", "$x^2$", r"\[x^2\]", "$$x^2$$", "$$\nx^2\n$$", "so\n$$\nx^2\n$$\nfar", "\\[\nx^2\n\\]."]
)
def test_formulas_are_mathml(text: str) -> None:
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in markdown.render(text)


def test_environments_that_models_write_are_drawn() -> None:
    page = markdown.render(
        "$$\n\\begin{aligned} a &= b \\\\ &= c \\end{aligned}\n$$\n\n\\begin{equation}y\\end{equation}"
    )
    assert page.count("<mtr>") == 2
    assert "<mi>y</mi>" in page
    assert "bz-tex" not in page


@pytest.mark.parametrize("source", [r"\frac{", r"\unknown x", "x" * 9000, r"a & b"])
def test_what_is_no_formula_is_shown_as_it_is(source: str) -> None:
    page = markdown.render(f"${source}$")
    assert "<math" not in page
    assert "bz-tex" in page


def test_latex_cannot_bring_a_tag_or_an_address() -> None:
    page = markdown.render(r"$\text{<img src=x onerror=alert(1)>}$ $\href{javascript:alert(1)}{x}$")
    assert "<img" not in page
    assert "href" not in re.sub(r'title="[^"]*"', "", page)


def test_code_has_its_language_colours_and_a_button() -> None:
    with using("zh"):
        page = markdown.render("```python\ndef f(): return '<b>'\n```")
    assert '<span class="bz-lang">python</span>' in page
    assert '<span class="bz-k">def' in page
    assert "&lt;b&gt;" in page
    assert "复制" in page


def test_an_answer_is_a_function_of_its_parts() -> None:
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


def test_while_there_is_only_reasoning_it_says_so() -> None:
    assert "Thinking" in View().html(Shown(reasoning="hm", done=False))
    with using("zh"):
        assert "思考过程" in View().html(Shown(text="a", reasoning="hm"))


@pytest.mark.parametrize(("style", "shown"), [("json", '{\n  "a": 1\n}'), ("code", '{"a": 1}'), ("text", "{&quot;")])
def test_formats(style: str, shown: str) -> None:
    text = '```json\n{"a": 1}\n```'
    page = re.sub(r"<[^>]+>", "", View(style).inner(Shown(text=text)))
    assert (shown in page.replace("&#34;", '"')) or style == "text"
    assert "{" in as_markdown(Shown(text=text), style)
