"""Secrets in texts: in part, in the encodings of the web, and in time that grows with the text."""

from __future__ import annotations

import base64
import json
import time
import urllib.parse

import pytest
from hypothesis import given, strategies as st

from byzer_magic.backends.http.endpoint import Endpoint
from byzer_magic.log import redact
from byzer_magic.safety.redaction import PART, hide

KEY = "Zx9+Qw/8rT=yUi0PaSdFgHjKlñ7"
FORMS = {
    "as it is": KEY,
    "in a URL": urllib.parse.quote(KEY, safe=""),
    "in a URL, small letters": urllib.parse.quote(KEY, safe="").replace("%2B", "%2b").replace("%2F", "%2f"),
    "in a URL in a URL": urllib.parse.quote(urllib.parse.quote(KEY, safe=""), safe=""),
    "in JSON": json.dumps(KEY)[1:-1],
    "in JSON of PHP": json.dumps(KEY)[1:-1].replace("/", r"\/"),
    "in small letters": KEY.lower(),
    "in digits": KEY.encode().hex().upper(),
    "in bytes": repr(KEY.encode())[2:-1],
    "of Basic": "Basic " + base64.b64encode(f"user:{KEY}".encode()).decode(),
    "of Basic, first": "Basic " + base64.b64encode(f"{KEY}:".encode()).decode(),
    "its beginning": KEY[:12],
    "its end": KEY[-9:],
    "in two lines": f"{KEY[:13]}\n{KEY[13:]}",
    "in many lines": "\n".join(KEY[at : at + 5] for at in range(0, len(KEY), 5)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", [KEY, f"{KEY}\n", f"\r\n{KEY}"], ids=["plain", "with line end", "with line breaks"])
def test_no_form_of_a_secret_is_shown(form: str, secret: str) -> None:
    text = FORMS[form]
    for shown in (
        redact(f"header {text} end", (secret,)),
        Endpoint("m", "https://h", (secret,)).redacted(f"header {text} end"),
    ):
        assert shown.startswith("header ***")
        assert shown.endswith(" end")
        assert not any(text[at : at + 4] in shown for at in range(len(text) - 3)), shown


@given(st.text(min_size=PART, max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_no_part_of_a_secret_is_shown(secret: str, before: str, after: str) -> None:
    bare = "".join(secret.split())
    if len(bare) < PART:
        return
    for form in (bare, urllib.parse.quote(bare, safe=""), json.dumps(bare)[1:-1]):
        shown = hide(before + form + after, (secret,))
        kept = "".join(shown.replace("***", "\0").split())
        assert not any(form[at : at + PART] in kept for at in range(len(form) - PART + 1))


def test_short_secrets_are_hidden_with_their_spaces() -> None:
    assert hide("user hunter2 of pass wor", ("hunter2\n", "pass wor")) == "user *** of ***"


@given(st.text(alphabet="abc :/@?&=-", max_size=200))
def test_hiding_again_changes_nothing(text: str) -> None:
    once = hide(text, ("abcabcabc",))
    assert hide(once, ("abcabcabc",)) == once


@pytest.mark.parametrize(
    "key",
    [
        "ASIAXXXXXXXXEXAMPLE1",
        "AIzaSyA-1234567890abcdefghijklmnopqrstu",
        "gsk_abcdefghijklmnop1234567890",
        "hf_abcdefghijklmnopqrstuvwxyz",
        "xai-abcdefghijklmnop123456",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlc2ln",
        "ghp_abcdefghijklmnopqrst12",
    ],
)
def test_keys_are_known_by_their_shape(key: str) -> None:
    assert hide(f"key {key}, status 401") == "key ***, status 401"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at https://me:pw@e.org/v1", "at https://***@e.org/v1"),
        ("at https://token-of-mine@e.org", "at https://***@e.org"),
        ("at https:/me:pw@e.org/v1", "at https:/***@e.org/v1"),
        ("at http:me:pw@e.org/v1", "at http:***@e.org/v1"),
        ("https://e.org/a?api-key=12345&x=1", "https://e.org/a?api-key=***&x=1"),
        ("https://e.org/a?X-Amz-Signature=12345#b", "https://e.org/a?X-Amz-Signature=***#b"),
        ('{"api_key": "12345678", "n": 1}', '{"api_key": "***", "n": 1}'),
        ("{'X-Api-Key': '12345678'}", "{'X-Api-Key': '***'}"),
    ],
)
def test_secrets_of_urls_and_fields_are_hidden(text: str, shown: str) -> None:
    assert hide(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Basic authentication failed",
        "the bearer of news",
        "see https://e.org/@me?page=2",
        "max_tokens: 5",
        '{"n_tokens": "12345"}',
    ],
)
def test_ordinary_texts_stay(text: str) -> None:
    assert hide(text, ("my-own-key",)) == text


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "eyJ-",
        "-eyJaaaaaaaa",
        "://",
        "https:",
        "Basic ",
        "Basic aaaa",
        "Bearer ",
        "?key",
        '"token" ',
        "sk-",
        "@",
        "&a-",
        "?api_key=",
        " ",
        "https://a:",
        "eyJaaaaaaaa.",
        "'api_key': ",
        "Zx9+Qw/8",
    ],
)
def test_time_grows_with_the_text(unit: str) -> None:
    took = []
    for size in (10_000, 300_000):
        text = unit * (size // len(unit))
        began = time.process_time()
        hide(text, (KEY, "other-key-0123456789"))
        took.append(time.process_time() - began)
    assert took[-1] < 5, f"a quadratic pattern takes minutes: {took}"
