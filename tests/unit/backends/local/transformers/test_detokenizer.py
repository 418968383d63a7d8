"""From tokens to text while they arrive."""

from __future__ import annotations

import pytest

from byzer_magic.backends.local.transformers.detokenizer import Detokenizer


def decode(tokens: list[int]) -> str:
    """Tokens are bytes here."""
    return bytes(tokens).decode(errors="replace")


def pieces(text: bytes, *stops: str) -> list[str]:
    made = Detokenizer(decode, stops)
    found = []
    for token in text:
        found.append(made.add(token))
        if made.ended:
            break
    return [*found, made.rest()]


def test_detokenizer_returns_complete_characters() -> None:
    assert pieces("aé😀b".encode()) == ["a", "", "é", "", "", "", "😀", "b", ""]


def test_detokenizer_does_not_wait_for_invalid_bytes() -> None:
    assert "b" in "".join(pieces(b"a" + b"\xff" * 20 + b"b"))
    assert pieces("a😀".encode()[:-1])[-1] == "", "the end is truncated in the middle of one"


@pytest.mark.parametrize(
    ("text", "stops", "output"),
    [
        ("hello world", ("wor",), "hello "),
        ("hello world", ("xyz", "o"), "hell"),
        ("aab", ("aaab",), "aab"),
        ("aaab", ("ab", "b"), "aa"),
        ("<end", ("<end>",), "<end"),
        ("日本語です", ("語",), "日本"),
    ],
)
def test_detokenizer_returns_nothing_from_a_stop_text_on(text: str, stops: tuple[str, ...], output: str) -> None:
    assert "".join(pieces(text.encode(), *stops)) == output


def test_detokenizer_holds_back_only_a_possible_stop_text() -> None:
    assert pieces(b"a<ab<en", "<end>") == ["a", "", "<a", "b", "", "", "", "<en"]
