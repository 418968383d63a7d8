"""What HTTP headers can have."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import assume, given, strategies as st

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
    ("key", "error"),
    [
        ('"sk-1"', "has quotes around it"),
        ("'sk-1'", "has quotes around it"),
        ("`sk-1`", "has quotes around it"),
        ('"sk-1', "has a quotation mark at one end"),
        ("sk-1'", "has a quotation mark at one end"),
        ("&quot;sk-1&quot;", "contains &quot;"),
        ("sk-1&#39;", "contains &#39;"),
        ("Bearer sk-1", "begins with Bearer"),
        ("bearer  sk-1", "begins with Bearer"),
        ("Bearer;sk-1", "begins with Bearer"),
        ("Authorization: Bearer sk-1", "begins with Bearer"),
        ("OPENAI_API_KEY=sk-1", "contains the name of a variable"),
        ("OPENAI_API_KEY = sk-1", "contains the name of a variable"),
        ("ARK_API=sk-1", "contains the name of a variable"),
        ("export OPENAI_API_KEY=sk-1", "contains the name of a variable"),
        ("set X=sk-1", "contains the name of a variable"),
        ('$env:X="sk-1', "contains the name of a variable"),
        ("%env KEY=sk-1", "contains the name of a variable"),
        ("saas.api_key=sk-1", "contains the name of a variable"),
        ("apiKey=sk-1", "contains the name of a variable"),
        ("api_key: sk-1", r"has a space in it \(position 9\)"),
        ("sk-1 # mine", r"has a space in it \(position 5\)\.\nRemove the comment"),
        ("sk-1 // mine", r"has a space in it \(position 5\)\.\nRemove the comment"),
        ("sk-1 sk-1", r"has a space in it \(position 5\)\.\nGive the key alone"),
        ("sk-1,", "ends with a comma"),
        ("sk-1;", "ends with a comma"),
        ('{"api_key": "sk-1"}', "is JSON"),
        ("{'api_key':'sk-1'}", "is JSON"),
        ("[sk-1]", "is JSON"),
        ("<sk-1>", "is a placeholder"),
        ("${OPENAI_API_KEY}", "is a placeholder"),
        ("$OPENAI_API_KEY", "is a placeholder"),
        ("%OPENAI_API_KEY%", "is a placeholder"),
        ("os.environ['OPENAI_API_KEY']", "is a placeholder"),
        ("***", "is a masked key"),
        ("sk-****1234", "is a masked key"),
        ("sk-...1234", "is a masked key"),
    ],
)
def test_a_key_that_is_given_with_more_than_itself_is_refused_and_not_shown(key: str, error: str) -> None:
    with pytest.raises(BadParameter, match=rf"^saas\.api_key {error}") as caught:
        headers.checked_key(key, "saas.api_key")
    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        "xxx", "xxxx", "sk-xxx", "token", "token-abc123", "EMPTY", "none", "sk-1", "bearer",
        "~!@#$%^&*()_+/=.,:;?", "a=b",
        "sk-proj-Ab_9-T3BlbkFJ", "sk-ant-api03-Ab_9-AA", "sk-or-v1-0a9f", "gsk_9aB", "hf_aB", "pplx-9", "xai-9",
        "AIzaSyA-_9",
        "0123456789abcdef.AbCdEf0123",  # Zhipu
        "bce-v3/ALTAK-9aB/0f9e",  # Qianfan
        "24.0f9e.2592000.1700000000.282335-12345678",
        "0f9e8d:MTIzNDU2", "6f1c0c3e-1111-4222-8333-944455556666", "6f1c0c3e-1111:0f9e8d",  # Spark, Volcengine, fal
        "ABSKQmVkcm9ja0FQSUtleS0x+/9==", "bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29tLz9B=",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI_KEY=", "SECRET_TOKEN==",
        "IQoJb3JpZ2luX2VjEJr//////////wEaCXVzLWVhc3QtMSJHMEUCIQD+token/==",
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJhIn0.c2ln-_A",
    ],
)  # fmt: skip
def test_real_keys_and_those_of_guides_are_not_changed(key: str) -> None:
    assert headers.checked_key(key, "saas.api_key") == key


@given(st.text(string.ascii_letters + string.digits + "-_.:/+", min_size=1), st.integers(0, 2))
def test_every_key_of_the_usual_alphabets_passes(key: str, padding: int) -> None:
    assume("..." not in key and not key.startswith(("os.", "process.")))
    assert headers.checked_key(key + "=" * padding, "saas.api_key") == key + "=" * padding


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
