"""Reading the bodies of providers: what is not as it should be becomes an error of ours."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from byzer_magic import errors
from byzer_magic.backends.http.client import Http
from byzer_magic.backends.http.errors import Endpoint


class Line(msgspec.Struct):
    text: str
    done: bool = False


@pytest.fixture
def http() -> Http:
    unused: Any = None
    return Http(unused, Endpoint("tiny", "https://api.x.com"))


def test_decode_returns_the_struct_and_ignores_other_fields(http: Http) -> None:
    assert http.decode(b'{"text": "say \\"error\\"", "extra": 1}', Line) == Line('say "error"')
    assert http.decode(b'{"text": "a", "error": null}', Line) == Line("a")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b'{"text": 7}', Line("7")),
        (b'{"text": ["a", {"text": "b"}], "done": "true"}', Line("ab", done=True)),
        (b'{"text": "a", "done": null}', Line("a")),
        (b'{"text": "a\xe4\xbd"}', Line("a\ufffd")),
        (b'{"text": "a\\ud83d"}', Line("a\ufffd")),
        (b'\xef\xbb\xbf{"text": "a"} {"text": "b"}', Line("a")),
        (b'{"text": "a", "error": {"code": 0, "message": ""}}', Line("a")),
        (b'{"text": "a", "error": false}', Line("a")),
    ],
)
def test_decode_converts_what_has_a_plain_meaning(http: Http, data: bytes, line: Line) -> None:
    assert http.decode(data, Line) == line


@pytest.mark.parametrize(
    "data", [b"<html>", b"[1]", b'{"done": true}', b'{"text": tru', b"null", b"{" + b"[" * 100_000]
)
def test_decode_of_anything_else_is_unreadable(http: Http, data: bytes) -> None:
    with pytest.raises(errors.ProviderUnavailable, match=r"^api\.x\.com: unreadable response from tiny: ") as caught:
        http.decode(data, Line)
    assert caught.value.details["final"] is True


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b'{"code": 1302, "msg": "too many at once"}', "too many at once"),
        (b'{"success": false, "errors": [{"code": 7003, "message": "no such account"}]}', "no such account"),
        (b"upstream connect error", "upstream connect error"),
        (b"<html><title>502 Bad Gateway</title></html>", "502 Bad Gateway"),
        (b'{"message": "no capacity now"}', "no capacity now"),
    ],
)
def test_decode_quotes_what_came_instead(http: Http, data: bytes, sentence: str) -> None:
    with pytest.raises(errors.ProviderUnavailable, match=sentence):
        http.decode(data, Line)


def test_decode_of_an_empty_body_says_so(http: Http) -> None:
    with pytest.raises(errors.StreamTruncated, match="the response is empty"):
        http.decode(b"", Line)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b'{"error": "the model crashed"}', errors.ProviderUnavailable),
        (b'{"error": {"code": "model_not_found", "message": "gone"}}', errors.ModelNotFound),
        (b'{"text": "a", "error": {"code": "429", "message": "slow down"}}', errors.RateLimited),
    ],
)
def test_decode_raises_the_error_of_a_body(http: Http, data: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        http.decode(data, Line)
