"""Answers that models may write: Markdown, formulas and HTML, in any order and half finished."""

from __future__ import annotations

from hypothesis import strategies as st

PIECES = st.sampled_from([
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</div>", "</code></pre><b>", "<!--", "]]>", "<br>",
    "`", "``", "```", "```html", "~~~", "$", "$$", "\\(", "\\)", "\\[", "\\]", "\\text{<b>}", "|a|b|", "|-|-|",
    "\\href{javascript:x}{y}", "\\begin{align}", "\\end{align}", "a & b", "&lt;b&gt;", "<https://e.org>",
    "[x](javascript:alert(1))", "[x](https://e.org)", "![p](http://e.org/x)", "https://e.org/<b>",
    "[r]", "[r]: https://e.org/a", "[r]: javascript:x", "**", "_", "~~", '"', "'", "\r", "\t", "é",
    "- ", "1. ", "> ", "# ", "===", "---", "    ", "\n", "\n", "\n\n", " ", "word",
])  # fmt: skip
TEXTS = st.lists(PIECES, max_size=40).map("".join)
