"""Blocks of code."""

from __future__ import annotations

from byzer_magic.i18n import using
from byzer_magic.rendering.answer import markdown


def test_block_has_language_colours_and_a_button() -> None:
    with using("zh"):
        page = markdown.render("```python\ndef f(): return '<b>'\n```")
    assert '<span class="bz-lang">python</span>' in page
    assert '<span class="bz-k">def' in page
    assert "&lt;b&gt;" in page
    assert "复制" in page
