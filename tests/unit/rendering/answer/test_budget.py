"""Answers that take long to render: what there is no time for is shown as its source."""

from __future__ import annotations

import time

import pytest

from byzer_magic.rendering.answer import budget, code, markdown
from byzer_magic.rendering.answer.view import Shown, View, bundle
from tests.pages import Page

SIZE = 1_000_000
BOMBS = {
    "list": "- a\n",
    "images": "![",
    "references": "[a\n",
    "table": "|a|b|\n|-|-|\n" + "|x|y|\n" * 1000 + "\n",
    "wide table": "|" + "a|" * 250 + "\n|" + "-|" * 250 + "\n" + "|x\n" * 250 + "\n",
    "round": r"\( x ",
    "square": "\\[ x\n",
    "formulas": "$" + "\\frac{a}{" * 40 + "x" + "}" * 40 + "$\n\n",
    "emphasis": "*a **b ",
    "code": "```python\nx = {1: 2}\n```\n",
}
LIMIT = 15.0
"""Seconds of processor time; they take about one, and without a budget up to hours."""


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "PARSING_SECONDS", 0.1)
    monkeypatch.setattr(budget, "DETAIL_SECONDS", 0.1)


@pytest.mark.parametrize("kind", BOMBS)
def test_bundle_of_a_megabyte_takes_bounded_time(kind: str) -> None:
    text = "Begin.\n\n" + (BOMBS[kind] * (SIZE // len(BOMBS[kind]) + 1))[:SIZE]
    began = time.thread_time()
    shown = bundle(Shown(text=text))
    assert time.thread_time() - began < LIMIT
    assert "<p>Begin.</p>" in shown["text/html"]
    assert shown["text/plain"] == text
    assert len(shown["text/html"]) < 3 * markdown.LARGEST_HTML


def test_runs_of_backticks_take_time_in_proportion() -> None:
    text = "".join("e" + "`" * size for size in range(1, 1000))
    began = time.thread_time()
    bundle(Shown(text=text))
    bundle(Shown(text="`" * SIZE), "code")
    assert time.thread_time() - began < LIMIT


def test_links_of_one_definition_do_not_multiply_it() -> None:
    text = "[a]: https://e.org/" + "x" * 20_000 + "\n\n" + "[a] " * 5_000
    assert len(markdown.render(text)) < 20 * len(text)
    assert markdown.render(text).count('href="https://e.org/') > 2


def test_a_stream_is_rendered_as_its_budget_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "PARSING_SECONDS", 0.0)
    shown = View().blocks(Shown(text="# a\n\n- b <b>\n" * 1000, done=False))
    assert "source" in shown[-1]
    assert "- b &lt;b&gt;" in shown[-1]
    Page("".join(shown))


@pytest.mark.parametrize("depth", [300, 3000, 30_000])
def test_deep_formulas_are_shown(depth: int) -> None:
    for opening, closing in (("\\frac{a}{", "}"), ("{", "}"), ("\\left(", "\\right)"), ("\\sqrt", ""), ("x^{", "}")):
        page = markdown.render(f"Look: ${opening * depth}x{closing * depth}$ and so on")
        assert "and so on" in Page(page).text


def test_deep_formulas_within_the_limits_of_length_show_their_source() -> None:
    page = Page(markdown.render("$" + "\\frac{a}{" * 200 + "x" + "}" * 200 + "$"))
    assert page.text.count("frac") == 200
    assert not page.all("math")


def test_code_that_a_lexer_chokes_on_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "SECONDS", 0.0)
    code.colours.cache_clear()
    assert Page(code.colours("x = 1\ny = '<'\n" * 100, "python")).text == "x = 1\ny = '<'\n" * 100
    code.colours.cache_clear()


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("bash", "x=$'" + r"\111" * 100 + "\n"),
        ("makefile", "a:\n\techo $$(( $'" + r"\111" * 100 + "\n"),
        ("dockerfile", "RUN echo $'" + r"\111" * 100 + "\n"),
        ("console", "$ echo $'" + r"\111" * 100 + "\n"),
        ("perl", "s!" + "\\" * 200),
        ("c", "a" + " " * 19_000 + "\0"),
        ("markdown", "```perl\ns!" + "\\" * 200 + "\n```\n"),
        ("http", "GET / HTTP/1.1\nContent-Type: text/x-perl\n\ns!" + "\\" * 200),
        ("mathematica", "(*" * 900),
    ],
)
def test_code_that_a_match_never_ends_on_stays_whole(language: str, source: str) -> None:
    began = time.thread_time()
    assert source in Page(code.block(source, language)).text
    assert time.thread_time() - began < LIMIT


def test_strings_of_bash_are_coloured() -> None:
    assert 'class="bz-s"' in code.colours(r"a=$'\111'" + "\n", "bash")
    assert "bz-" in code.colours("if x: print('$', 1)\n", "python")


def test_a_renderer_that_fails_shows_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(code, "block", fail)
    page = Page(View().inner(Shown(text="before\n\n```python\nx\n```\n\n<i>after</i>")))
    assert "<i>after</i>" in page.text


def test_deep_json_of_a_tool_call_is_shown() -> None:
    for arguments in ("[" * 100_000, "[" * 900 + "]" * 900):
        page = View().inner(Shown(tool_calls=[{"function": {"name": "f", "arguments": arguments}}]))
        assert len(page) < 1_000_000
        assert "f" in Page(page).text
