"""Widths on a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from byzer_magic.i18n import pad, width


@pytest.mark.parametrize(("text", "cells"), [("", 0), ("abc", 3), ("部署", 4), ("é", 1), ("a\u0301", 1), ("a\tb", 3)])
def test_width_counts_terminal_cells(text: str, cells: int) -> None:
    assert width(text) == cells


@given(st.lists(st.text("ab 部署é"), min_size=1))
def test_pad_makes_all_texts_equally_wide(texts: list[str]) -> None:
    cells = max(map(width, texts))
    assert {width(pad(text, cells)) for text in texts} == {cells}


def test_pad_leaves_longer_texts_alone() -> None:
    assert pad("部署", 3) == "部署"
