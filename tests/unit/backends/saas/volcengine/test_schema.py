"""Volcengine's error codes."""

from __future__ import annotations

from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends.http.errors import Endpoint
from byzer_magic.backends.saas.volcengine import schema


@pytest.mark.parametrize(
    ("body", "status", "kind", "found"),
    [
        ({"code": 3999, "message": "?"}, 200, errors.ProviderUnavailable, 500),
        ({"code": 3001, "message": "operation"}, 500, errors.BadRequest, 400),
        ({"code": 3006, "message": "reqid"}, 200, errors.ProviderUnavailable, 503),
        ({"code": 3040, "message": "link"}, 200, errors.ProviderUnavailable, 502),
        ({"code": 45009999, "message": "?"}, 200, errors.BadRequest, 400),
        ({"header": {"code": 45000030, "message": "requested resource not granted"}}, 403, errors.ProviderError, 403),
        ({"code": 3001, "message": "Init Engine Instance failed"}, 200, errors.ModelNotFound, 404),
        ("<html><title>Bad Gateway</title></html>", 502, errors.ProviderUnavailable, 502),
        ("", 429, errors.RateLimited, 429),
    ],
)
def test_error_codes_select_the_status(body: Any, status: int, kind: type[Exception], found: int) -> None:
    error = schema.from_response(body, Endpoint("m", "http://host"), status, {})
    assert isinstance(error, kind)
    assert error.details["status"] == found
