"""A recording that comes in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from byzer_magic.i18n import using
from byzer_magic.widgets import recorder
from byzer_magic.widgets.recorder import Pieces
from tests.pages import Page


@given(st.binary(min_size=1), st.integers(1, 20))
def test_pieces_become_the_complete_data(data: bytes, size: int) -> None:
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    pieces = Pieces()
    for _ in range(2):  # a second one after the first
        found = [pieces.add(at, len(parts), part) for at, part in enumerate(parts)]
        assert found == [None] * (len(parts) - 1) + [data]


def test_pieces_out_of_order_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = Pieces()
    assert pieces.add(0, 3, b"a") is None
    assert pieces.add(2, 3, b"c") is None
    assert pieces.add(1, 3, b"b") is None
    assert pieces.add(0, 1, b"new") == b"new"
    monkeypatch.setattr(recorder, "LARGEST_BYTES", 3)
    assert pieces.add(0, 2, b"ab") is None
    assert pieces.add(1, 2, b"cd") is None
    assert pieces.size == 0


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_mount_has_one_sentence_in_a_saved_notebook(lang: str) -> None:
    with using(lang):
        shown = recorder.mount(recorder.open_page("<b>", lambda *_: None, lambda: None), "<b>")
    page = Page(shown["text/html"])
    assert page.tags() == {"style", "div", "p"}
    assert "<b>" in page.text
    assert "<b>" in shown["text/plain"]
