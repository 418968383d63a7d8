"""What HTTP headers can have."""

from __future__ import annotations

import json

import pytest

from byzer_magic.commands import headers
from byzer_magic.errors import BadParameter


@pytest.mark.parametrize(
    "around",
    ["\n", "\r\n", " ", "\t", "\u00a0", "\u3000", "\u2003", "\u200b", "\u200d", "\ufeff", "\u2060", "\u200e", "\u00ad",
     "\u2028", " \u200b\n"],
)  # fmt: skip
def test_white_space_and_invisible_characters_at_the_ends_are_removed(around: str) -> None:
    assert headers.checked_key(f"{around}sk-1 {around}", "saas.api_key") == "sk-1"


@pytest.mark.parametrize(
    ("key", "position", "hint"),
    [
        ("\u201csk-own-1\u201d", 1, "curly quotation mark"),
        ("sk-own-1\u2019", 9, "curly quotation mark"),
        ("\u300csk-own-1\u300d", 1, "ASCII"),
        ("sk-\nown-1", 4, "line break"),
        ("sk-\r\nown-1", 4, "line break"),
        ("sk-\u2028own-1", 4, "line break"),
        ("sk-\u200bown-1", 4, "invisible"),
        ("sk-\ufeffown-1", 4, "invisible"),
        ("sk-\u00a0own-1", 4, "space of a web page"),
        ("sk-\u3000own-1", 4, "space of a web page"),
        ("sk-\x00own-1", 4, "ASCII"),
        ("sk-\x1b[0mown-1", 4, "ASCII"),
        ("sk-\x7fown-1", 4, "ASCII"),
        ("sk-\town-1", 4, "ASCII"),
        ("\u4f60\u7684\u5bc6\u94a5", 1, "ASCII"),
        ("sk-\u00e9own-1", 4, "ASCII"),
        ("\uff53\uff4b-own-1", 1, "ASCII"),
        ("sk-own-1\U0001f511", 9, "ASCII"),
        ("sk\u2013own-1", 3, "ASCII"),
        ("sk-\ud83down-1", 4, "ASCII"),
    ],
)
def test_what_no_header_can_have_is_named_by_its_position_and_the_key_is_not_shown(
    key: str, position: int, hint: str
) -> None:
    with pytest.raises(BadParameter) as caught:
        headers.checked_key(key, "saas.api_key")
    assert f"saas.api_key has a character that no HTTP header can have (position {position})." in str(caught.value)
    assert hint in str(caught.value.hint)
    assert "own" not in str(caught.value)


@pytest.mark.parametrize(
    "key", ['"sk-1"', "'sk-1'", "`sk-1`", "Bearer sk-1", "bearer  sk-1", "Authorization: Bearer sk-1"]
)
def test_a_key_that_is_given_with_more_than_itself_is_refused(key: str) -> None:
    with pytest.raises(BadParameter, match=r"saas\.api_key (has quotes|begins with Bearer)") as caught:
        headers.checked_key(key, "saas.api_key")
    assert "sk-1" not in str(caught.value)


@pytest.mark.parametrize("key", ["xxx", "token", "sk-1", "a b", '{"a": "b"}', "bearer", '"', "~!@#$%^&*()_+/=.,:;"])
def test_what_a_header_can_have_is_not_changed(key: str) -> None:
    assert headers.checked_key(key, "saas.api_key") == key


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"X Team": "a"}, "'X Team' is not the name of an HTTP header"),
        ({"X-Team:": "a"}, "is not the name of an HTTP header"),
        ({"": "a"}, "is not the name of an HTTP header"),
        ({"\u56e2\u961f": "a"}, "is not the name of an HTTP header"),
        ({"X-Team\nX": "a"}, "is not the name of an HTTP header"),
        ({"X-Team": "a\nb"}, r"saas.extra_headers \(X-Team\) has a character"),
        ({"X-Team": "\u7ec4"}, r"saas.extra_headers \(X-Team\) has a character"),
        ({"X-Team": None}, "the value of X-Team is not a text"),
        ({"X-Team": True}, "the value of X-Team is not a text"),
        ({"X-Team": ["a"]}, "the value of X-Team is not a text"),
    ],
)
def test_headers_name_what_is_wrong(given: dict[str, object], error: str) -> None:
    with pytest.raises(BadParameter, match=error):
        headers.checked_all(json.loads(json.dumps(given)), "saas.extra_headers")


def test_headers_are_trimmed_and_numbers_become_digits() -> None:
    assert headers.checked_all({" X-Team ": "a\n", "X-Number": 1.5}, "h") == {"X-Team": "a", "X-Number": "1.5"}
