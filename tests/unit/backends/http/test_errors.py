"""Providers' errors as ours."""

from __future__ import annotations

import pytest

from byzer_magic import errors
from byzer_magic.backends.http.errors import (
    Endpoint,
    ErrorResponse,
    from_exception,
    from_response,
    retry_after,
    truncated,
    unreadable,
)
from byzer_magic.backends.http.finishes import finish_of
from byzer_magic.i18n import lazy_gettext as _, using


@pytest.mark.parametrize(
    "output",
    ["no 'my-own-key-123456' here", "key my-own-k***3456 is bad", "Basic my-own-key-12...", "KEY=my-own-key-123456."],
)
def test_endpoint_redacts_keys_of_any_form(output: str) -> None:
    hidden = Endpoint("m", "http://user:secret@host/v1", ("my-own-key-123456",)).redacted(output)
    assert "my-own" not in hidden
    assert "3456" not in hidden


def test_endpoint_url_has_no_password() -> None:
    endpoint = Endpoint("m", "https://user:secret@host:1/v1")
    assert (endpoint.host, endpoint.url) == ("host:1", "https://host:1/v1")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Mon, 01 Jan 2024 00:00:00 +99999999999999999999"}, None),
        ({"retry-after": f"Mon, {'1' * 30} Jan 2024 00:00:00 GMT"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after-ms": "nan"}, None),
        ({"retry-after-ms": "-5"}, 0.0),
    ],
)
def test_retry_after_is_in_seconds(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


GPT = Endpoint("gpt-4o", "https://api.x.com/v1")


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (401, errors.AuthenticationFailed, "api.x.com: invalid API key (401): no"),
        (402, errors.RateLimited, "api.x.com: payment required for gpt-4o (402): no"),
        (403, errors.AuthenticationFailed, "api.x.com: access to gpt-4o denied (403): no"),
        (404, errors.ModelNotFound, "api.x.com: gpt-4o not found (404): no"),
        (408, errors.DeadlineExceeded, "api.x.com: gpt-4o timed out (408): no"),
        (422, errors.BadRequest, "api.x.com: request to gpt-4o rejected (422): no"),
        (429, errors.RateLimited, "api.x.com: rate limit exceeded for gpt-4o (429): no"),
        (503, errors.ProviderUnavailable, "api.x.com: server error for gpt-4o (503): no"),
    ],
)
def test_from_response_has_one_form_for_each_status(status: int, kind: type[Exception], message: str) -> None:
    error = from_response({"error": {"message": "no"}}, GPT, status)
    assert (type(error), error.message) == (kind, message)
    assert error.hint
    assert error.details["status"] == status


def test_from_response_takes_hints_codes_and_patterns_of_the_endpoint() -> None:
    hints, codes = {404: "Order the voice."}, {"VoiceMissing": 404}
    endpoint = Endpoint("m", "https://h", hints=hints, codes=codes, patterns=((errors.ContentRefused, "indecent"),))
    error = from_response({"code": "VoiceMissing"}, endpoint)
    assert (type(error), error.hint) == (errors.ModelNotFound, "Order the voice.")
    assert error.message == "h: m not found (404): VoiceMissing"
    assert type(from_response("Indecent words", endpoint, 400)) is errors.ContentRefused


def test_errors_are_translated_with_reasons_of_ours_and_of_the_provider() -> None:
    with using("zh"):
        assert (
            from_response("slow down", GPT, 429)
            .localized()
            .startswith("api.x.com：gpt-4o 超出速率限制（429）：slow down")
        )
        assert "无法解析 gpt-4o 的响应：其中没有音频" in unreadable(GPT, _("it has no audio")).localized()


def test_truncated_and_unreadable_name_host_and_model() -> None:
    assert truncated(GPT).message == "api.x.com: stream from gpt-4o ended before the response was complete."
    error = unreadable(Endpoint("gpt-4o", "https://api.x.com/v1", ("my-own-key-123456",)), "found my-own-key-123456")
    assert error.message == "api.x.com: unreadable response from gpt-4o: found ***"
    assert error.details["final"] is True


def test_failed_finish_reason_is_translated() -> None:
    with pytest.raises(ErrorResponse) as caught:
        finish_of("network_error")
    error = from_exception(caught.value, GPT)
    assert error.message.endswith("(500): the response ended with finish reason network_error")
    with using("zh"):
        assert "network_error" in error.localized()
        assert "ended" not in error.localized()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"error": {"code": "insufficient_quota", "message": ""}}, "insufficient_quota"),
        ({"code": 3001, "why": {"more": ["It is full."]}}, "It is full."),
        ({"code": 3001}, "3001"),
        ({}, "no reason given"),
    ],
)
def test_from_response_says_what_there_is(body: object, reason: str) -> None:
    assert from_response(body, Endpoint("m", "https://h"), 400).message.endswith(f": {reason}")


def test_from_transport_quotes_no_bytes() -> None:
    err = from_exception(ConnectionError("400, message: Data after close: b'<html>' ^"), Endpoint("m", "https://h"))
    assert err.message.endswith("400, message: Data after close")
