"""Answers as Markdown: raw HTML is text, code is code."""

from __future__ import annotations

import re

import pytest

from byzer_magic.rendering.answer import markdown

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
def test_html_outside_code_is_text(text: str, shown: str) -> None:
    assert markdown.safe(text) == shown


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
def test_no_trick_with_code_lets_a_tag_through(text: str) -> None:
    assert TAGS.search(markdown.safe(text)) is None


def test_code_keeps_only_the_blocks() -> None:
    assert markdown.code_in("Here:\n```python\nx = 1\n```\nand\n```\ny = 2\n```\n") == "x = 1\n\ny = 2"


def test_json_is_indented_also_from_a_fence() -> None:
    assert markdown.pretty_json('```json\n{"a": [1]}\n```') == '{\n  "a": [\n    1\n  ]\n}'


def test_what_is_not_json_stays() -> None:
    assert markdown.pretty_json("no json") == "no json"


def test_a_fence_cannot_be_closed_from_inside() -> None:
    assert markdown.fence("```\nx", "text").startswith("````text\n")


def test_folded_text_cannot_change_what_follows() -> None:
    shown = markdown.folded("reasoning", "```\n<script>x</script>\n\n</details> $a$")
    assert "\n" not in shown
    assert TAGS.findall(shown.replace("<br>", "")) == ["<d", "<s", "</", "<p", "</", "</"]
    assert not set("`$") & set(shown)
