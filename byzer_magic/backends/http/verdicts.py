"""What a status or an error code of a provider means: the class of the error, its message, and the next step.

Data only; `errors` applies it. Codes: https://developers.openai.com/api/docs/guides/error-codes.
"""

from __future__ import annotations

from byzer_magic import errors
from byzer_magic.i18n import Text, lazy_gettext as _

Verdict = tuple[type[errors.RequestError], Text, str]
"""The class of an error, the template of its message, and its hint."""

INVALID: Verdict = (
    errors.BadRequest,
    _("{host}: request to {model} rejected ({status}): {reason}"),
    _("Fix the request as the error message describes."),
)
BY_STATUS: dict[int, Verdict] = {
    401: (
        errors.AuthenticationFailed,
        _("{host}: invalid API key ({status}): {reason}"),
        _("Check saas.api_key."),
    ),
    402: (
        errors.RateLimited,
        _("{host}: payment required for {model} ({status}): {reason}"),
        _("Check the account's balance and billing."),
    ),
    403: (
        errors.AuthenticationFailed,
        _("{host}: access to {model} denied ({status}): {reason}"),
        _("Check the permissions of the key, and the region."),
    ),
    404: (
        errors.ModelNotFound,
        _("{host}: {model} not found ({status}): {reason}"),
        _("Check saas.model and saas.base_url."),
    ),
    407: (
        errors.AuthenticationFailed,
        _("{host}: proxy authentication required for {model} ({status}): {reason}"),
        _("Put the user name and password into saas.proxy, https_proxy or http_proxy: http://USER:PASSWORD@HOST:PORT"),
    ),
    408: (
        errors.DeadlineExceeded,
        _("{host}: {model} timed out ({status}): {reason}"),
        _("Try again, or increase saas.timeout."),
    ),
    429: (
        errors.RateLimited,
        _("{host}: rate limit exceeded for {model} ({status}): {reason}"),
        _("Wait a moment, or lower --worker_concurrency."),
    ),
}
SERVER_ERROR: Verdict = (
    errors.ProviderUnavailable,
    _("{host}: server error for {model} ({status}): {reason}"),
    _("Try again; the error is on the provider's side."),
)
NO_ANSWER: Verdict = (
    errors.ProviderUnavailable,
    _("{host}: no response from {model}: {reason}"),
    _("Try again; if the error persists, check saas.model and saas.base_url."),
)
"""A response with status 200, but without an answer."""
QUOTA: Verdict = (
    errors.RateLimited,
    _("{host}: quota exceeded for {model} ({status}): {reason}"),
    _("Check the account's plan and billing; waiting does not help."),
)
BY_CLASS: dict[type[errors.ProviderError], Verdict] = {
    errors.ContextTooLong: (
        errors.ContextTooLong,
        _("{host}: prompt too long for {model} ({status}): {reason}"),
        _("Shorten the conversation, or use a model with a longer context."),
    ),
    errors.ContentRefused: (
        errors.ContentRefused,
        _("{host}: content filter blocked the request to {model} ({status}): {reason}"),
        _("Change the prompt."),
    ),
    errors.ModelNotFound: BY_STATUS[404],
}
"""What a 400 can be, when the code or the provider's sentence shows it."""

CODES: dict[str, type[errors.ProviderError]] = {
    "context_length_exceeded": errors.ContextTooLong,
    "exceed_context_size_error": errors.ContextTooLong,
    "content_filter": errors.ContentRefused,
    "content_policy_violation": errors.ContentRefused,
}
TOO_LONG = r"context (length|size|window)|too many tokens|prompt is too long"
STREAM_STATUS = {
    "invalid_api_key": 401,
    "insufficient_quota": 429,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "model_not_found": 404,
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "overloaded_error": 529,
    # Google's: https://google.aip.dev/193
    "invalid_argument": 400,
    "failed_precondition": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "resource_exhausted": 429,
    "unavailable": 503,
    "deadline_exceeded": 504,
    **dict.fromkeys(CODES, 400),
}
"""Statuses of errors that come inside a stream, where the HTTP status was 200 already."""
