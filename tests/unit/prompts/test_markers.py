"""Marks around responses that take several turns."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from byzer_magic.prompts.markers import Markers, go_on

MARKS = Markers()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<RESPONSE>one</RESPONSE>", "one"),
        ("Well: <RESPONSE>one</RESPONSE> Done.", "one"),
        ("<RESPONSE>one", "one"),
        ("one</RESPONSE>", "one"),
        ("one", "one"),
        ("<RESPONSE>a</RESPONSE>b</RESPONSE>", "a</RESPONSE>b"),
    ],
)
def test_markers_are_removed(text: str, found: str) -> None:
    assert MARKS.without(text) == found


@given(st.lists(st.sampled_from(["<", "RESPONSE", ">", "/", "<RESPONSE>", "</RESPONSE>", "a", " <R"])))
def test_markers_are_removed_from_a_stream(texts: list[str]) -> None:
    bare = "".join(texts)
    while (less := bare.replace(MARKS.start, "").replace(MARKS.end, "")) != bare:
        bare = less
    found = "".join(MARKS.pieces(texts))
    assert MARKS.start not in found
    assert found == bare or set(found) <= set("<RESPONSE/> a")  # marks that appear where others are removed


def test_stream_does_not_wait_for_what_is_no_mark() -> None:
    assert list(MARKS.pieces(["<RES", "T> ", "a"])) == ["<REST> ", "a"]


def test_instruction_is_in_the_language_of_the_prompt() -> None:
    assert "<RESPONSE>" in MARKS.instruction("Tell a story.")
    assert "回答" in MARKS.instruction("讲一个故事。")
    assert Markers(told="{{ RESPONSE_START }} only").instruction("x") == "<RESPONSE> only"
    assert go_on("讲一个故事。") != go_on("Tell a story.")
