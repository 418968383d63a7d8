"""Texts without control characters."""

from __future__ import annotations

import unicodedata

from hypothesis import given, strategies as st

from byzer_magic.safety.texts import Arriving, visible, visible_bundle

PIECES = ["\x1b", "[31m", "]0;title", "\x07", "\x9b2J", "\r", "\n", "\u202e", "a", "中", "\x08"]
PARTS = st.lists(st.sampled_from(PIECES))


@given(PARTS)
def test_visible_leaves_no_control_characters(parts: list[str]) -> None:
    for character in visible("".join(parts)):
        assert character in "\t\n" or unicodedata.category(character) not in ("Cc", "Cf")


@given(PARTS)
def test_arriving_parts_are_the_visible_text(parts: list[str]) -> None:
    arriving = Arriving()
    text = "".join(parts)
    assert "".join(map(arriving.visible, parts)) == visible(text.removesuffix("\r"))


@given(st.text())
def test_visible_keeps_its_own_results(text: str) -> None:
    assert visible(visible(text)) == visible(text)


def test_visible_bundle_leaves_html_alone() -> None:
    assert visible_bundle({"text/html": "<b>", "text/plain": "\x1b[2J"}) == {"text/html": "<b>", "text/plain": "␛[2J"}
