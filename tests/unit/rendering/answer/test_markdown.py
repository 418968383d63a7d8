"""Answers as Markdown: raw HTML is text, code is code."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings, strategies as st

from byzer_magic.rendering.answer import markdown, safe
from tests.answers import TEXTS

TAGS = re.compile(r"<[A-Za-z/!?]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("a < b and <b>bold</b>", "a < b and &lt;b>bold&lt;/b>"),
        ("`<b>` looks the same", "`<\u200bb>` looks the same"),
        ("```html\n<b>\n```\n<i>", "```html\n<b>\n```\n&lt;i>"),
        ("```html\n<b> still being written", "```html\n<b> still being written"),
        ("x <!-- c -->", "x &lt;!-- c -->"),
        ("$a<b$ and $$x<y$$", "$a< b$ and $$x< y$$"),
        (r"\(e^x\) and \[y\]", "$e^x$ and $$y$$"),
    ],
)
def test_safe_html_outside_code_is_text(text: str, shown: str) -> None:
    assert safe.safe(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "It`s here\n\n`<script>x</script>`\n\nit`s there",
        "```\ncode\n  ```\n`<script>x</script>`",
        "\\` `<script>x</script>` \\`",
        "```a`b\n<script>x</script>",
        "- ```\n  code\n  ```\n<script>x</script>",
        "  ```\n```\n<script>x</script>\n```",
        "> ```\n> code\n\n<script>x</script>",
        "    ```\n<script>x</script>",
        "~~~\ncode\n~~~ x\n~~~\n<script>x</script>",
        "````\n```\n````\n<script>x</script>",
    ],
)
def test_safe_lets_no_tag_through(text: str) -> None:
    assert TAGS.search(safe.safe(text)) is None


def test_code_in_returns_the_blocks() -> None:
    assert markdown.code_in("Here:\n```python\nx = 1\n```\nand\n```\ny = 2\n```\n") == "x = 1\n\ny = 2"


def test_pretty_json_indents() -> None:
    assert markdown.pretty_json('```json\n{"a": [1]}\n```') == '{\n  "a": [\n    1\n  ]\n}'


def test_pretty_json_keeps_other_text() -> None:
    assert markdown.pretty_json("no json") == "no json"


def test_fence_cannot_be_closed_from_inside() -> None:
    assert safe.fence("```\nx", "text").startswith("````text\n")


def test_folded_cannot_change_what_follows() -> None:
    shown = safe.folded("reasoning", "```\n<script>x</script>\n\n</details> $a$")
    assert "\n" not in shown
    assert TAGS.findall(shown.replace("<br>", "")) == ["<d", "<s", "</", "<p", "</", "</"]
    assert not set("`$") & set(shown)


@given(st.lists(TEXTS, max_size=6))
@settings(max_examples=150, deadline=None)
def test_stream_renders_parts_as_the_complete_text(parts: list[str]) -> None:
    stream = markdown.Stream()
    text = ""
    for part in parts:
        text += part
        assert "".join(stream.blocks(text)) == markdown.render(text)


def test_stream_renders_letters_as_the_complete_text() -> None:
    text = (
        "# One\n\npara\n- a\n- b\n\n1. x\n\n   y\n\na|b\n-|-\n1|2\n\n$$\nx\n$$\n\n```py\nx = 1\n```\n\n[r] and [s]\n"
        "===\n> q\nlazy\n\n\\[ a \\]\n\n[r]: https://e.org/one\n[s]: https://e.org/two\n\nend [r]"
    )
    stream = markdown.Stream()
    for end in range(len(text) + 1):
        assert "".join(stream.blocks(text[:end])) == markdown.render(text[:end]), text[:end]


def test_stream_renders_settled_blocks_once() -> None:
    stream = markdown.Stream()
    text = "\n\n".join(f"paragraph {number}" for number in range(50))
    stream.blocks(text)
    assert len(text) - stream._from < 40
