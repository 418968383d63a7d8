"""Markdown as models write it."""

from __future__ import annotations

import pytest

from byzer_magic.rendering.answer import markdown


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
def test_dialect_of_models(text: str, shown: str) -> None:
    assert shown in markdown.render(text)
