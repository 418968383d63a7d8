"""Formulas."""

from __future__ import annotations

import re

import pytest

from byzer_magic.rendering.answer import markdown


@pytest.mark.parametrize(
    "text", [r"\(x^2\)", "$x^2$", r"\[x^2\]", "$$x^2$$", "$$\nx^2\n$$", "so\n$$\nx^2\n$$\nfar", "\\[\nx^2\n\\]."]
)
def test_formulas_are_mathml(text: str) -> None:
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in markdown.render(text)


def test_formulas_with_common_environments() -> None:
    page = markdown.render(
        "$$\n\\begin{aligned} a &= b \\\\ &= c \\end{aligned}\n$$\n\n\\begin{equation}y\\end{equation}"
    )
    assert page.count("<mtr>") == 2
    assert "<mi>y</mi>" in page
    assert "bz-tex" not in page


@pytest.mark.parametrize("source", [r"\frac{", r"\unknown x", "x" * 9000, r"a & b"])
def test_formulas_that_cannot_be_converted_show_their_source(source: str) -> None:
    page = markdown.render(f"${source}$")
    assert "<math" not in page
    assert "bz-tex" in page


def test_formulas_cannot_contain_tags_or_urls() -> None:
    page = markdown.render(r"$\text{<img src=x onerror=alert(1)>}$ $\href{javascript:alert(1)}{x}$")
    assert "<img" not in page
    assert "href" not in re.sub(r'title="[^"]*"', "", page)
