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


@pytest.mark.parametrize("data", [b"", b"<html>", b"[1]", b'{"text": 7}', b'{"done": true}', b'{"text": "\xff"}'])
def test_decode_of_anything_else_is_unreadable(http: Http, data: bytes) -> None:
    with pytest.raises(errors.ProviderUnavailable, match=r"^api\.x\.com: unreadable response from tiny: ") as caught:
        http.decode(data, Line)
    assert caught.value.details["final"] is True


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
