"""Any answer is painted in time that its size explains, and nothing in it runs: not in HTML, Markdown or a terminal."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from typing import Any

from bleach._vendor import html5lib  # type: ignore[import-untyped]  # it reads as browsers do
from hypothesis import Phase, given, settings, strategies as st
from markdown_it import MarkdownIt

from byzer_magic.rendering.answer import code, view
from byzer_magic.rendering.answer.view import KEEP_FOLDS, Shown, View
from tests.answers import PIECES
from tests.budgets import examples

BUDGET = timedelta(seconds=10)
"""For each input; these take about 20 ms. What is quadratic in their repetitions takes minutes."""
budget = settings(max_examples=examples(40), deadline=BUDGET, phases=[Phase.generate])

HOSTILE = st.sampled_from([
    "[a](java\tscript:alert(1))", "[a](&#106;avascript:alert(1))", "[a](javascript&colon;alert(1))",
    "[a](<javascript:x>)",
    "[r]: javascript:alert(1)", "> [r]:\n> javascript:x", "![x](http://e.org/a.png)", "<svg/onload=alert(1)>",
    "[a](https://e.org \"t\" onclick=\"alert(1)\")", "```x\" onload=y\ncode\n```", "$\\text{<img src=x onerror=y>}$",
    "\\frac{a}{", "\\left(", "\\begin{matrix}", "{", "}", "(*", "/*", "```mathematica\n", "```html\n",
    "&#x3c;script&#x3e;",
    "\x1b[31m", "\x1b]0;x\x07", "\x9b", "\u202e", "\ufeff", "\0", "<script\0>", "<?x", "<![CDATA[", "&", "<a:b>",
])  # fmt: skip
REPEATED = st.tuples(PIECES | HOSTILE, st.sampled_from([1, 2, 30, 400])).map(lambda pair: pair[0] * pair[1])
ANSWERS = st.lists(PIECES | HOSTILE | REPEATED, max_size=12).map("".join)

SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
EMPTY = re.compile(r"[\x00-\x20]+")
FORBIDDEN = {"iframe", "object", "embed", "form", "base", "meta", "link", "foreignobject"}
LINKS = ("href", "src", "action", "formaction", "data", "srcdoc", "poster", "background")


def check(page: str, *, embedded_only: bool = False) -> None:
    """Check that a browser finds nothing in it that runs."""
    for node in html5lib.parse(page, namespaceHTMLElements=False).iter():
        assert isinstance(node.tag, str), "a comment"
        name = node.tag.rpartition("}")[2].lower()
        assert name not in FORBIDDEN
        assert name != "script" or node.text == KEEP_FOLDS
        for key, value in node.attrib.items():
            check_attribute(str(key).rpartition("}")[2].lower(), value)
            if name == "img" and embedded_only and key == "src":
                assert value.startswith("data:image/")


def check_attribute(name: str, value: str) -> None:
    assert not name.startswith("on") or value == code.COPY
    if name in LINKS and (scheme := SCHEME.match(EMPTY.sub("", value))):
        assert scheme[0].lower() in ("http:", "https:", "mailto:", "data:")
        assert scheme[0].lower() != "data:" or EMPTY.sub("", value).lower().startswith("data:image/")


@given(ANSWERS, st.sampled_from(["markdown", "text", "json", "code"]))
@budget
def test_an_answer_runs_nothing(text: str, style: str) -> None:
    call = {"function": {"name": text[:40], "arguments": text}}
    shown = view.bundle(Shown(text=text, reasoning=text, tool_calls=[call], footer=text[:200]), style, key=text[:20])
    check(shown["text/html"], embedded_only=True)


@given(st.lists(ANSWERS, max_size=5))
@budget
def test_an_answer_that_arrives_runs_nothing(parts: list[str]) -> None:
    live = View()
    for end in range(len(parts) + 1):
        check("".join(live.blocks(Shown(text="".join(parts[:end]), done=False))), embedded_only=True)


READERS: list[Any] = [
    MarkdownIt("commonmark").render,
    MarkdownIt("js-default", {"html": True}).render,
]


def _any_link(reader: MarkdownIt) -> MarkdownIt:
    reader.validateLink = lambda _url: True  # type: ignore[method-assign]  # as readers do that check nothing
    return reader


READERS.append(partial(_any_link(MarkdownIt("commonmark")).render))


@given(ANSWERS)
@settings(budget, deadline=None)  # these readers have none
def test_markdown_of_an_answer_runs_nothing_in_any_reader(text: str) -> None:
    shown = view.as_markdown(Shown(text=text))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    for read in READERS:
        check(read(shown), embedded_only=True)
