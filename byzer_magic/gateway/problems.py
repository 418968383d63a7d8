"""What goes wrong with a request, with the status and the codes that the wires have for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from byzer_magic import errors, request_ids
from byzer_magic.i18n import Text, gettext as _, lazy_gettext, sentences
from byzer_magic.log import get_logger, redact

log = get_logger("gateway")


@dataclass(frozen=True, slots=True)
class Row:
    """How the wires call a kind of error."""

    status: int
    kind: str
    """OpenAI's `type`."""
    code: str | None
    """OpenAI's `code`."""
    anthropic: str
    """Anthropic's `type`."""
    again: bool = False
    """Whether the same request may succeed later, so that SDKs try again."""
    is_clients: bool = False
    """Whether it is about the request, so that the error's own hint is for whoever has sent it."""
    hint: Text | None = None
    """What another error's hint is for clients of the endpoint; its own is for whoever has deployed the model."""


TRY_AGAIN = lazy_gettext("Try again later.")
TELL = lazy_gettext("Tell whoever runs this endpoint.")
SHORTEN = lazy_gettext("Ask for a shorter response, or try again later.")
_INVALID = Row(400, "invalid_request_error", None, "invalid_request_error", is_clients=True)
ROWS: dict[type[Exception], Row] = {
    errors.NotDeployed: Row(404, "invalid_request_error", "model_not_found", "not_found_error"),
    errors.CommandError: _INVALID,
    errors.ConfigError: _INVALID,
    errors.Overloaded: Row(503, "server_error", "overloaded", "overloaded_error", again=True),
    errors.LimitReached: Row(429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_error", again=True),
    errors.DeadlineExceeded: Row(504, "server_error", "timeout", "timeout_error", hint=SHORTEN),
    errors.WorkerLost: Row(503, "server_error", "worker_lost", "api_error", again=True),
    errors.MalformedResponse: Row(502, "server_error", "bad_response", "api_error"),
    errors.Unsupported: Row(400, "invalid_request_error", "unsupported", "invalid_request_error", is_clients=True),
    # The provider refuses the deployment's key, not the client's: that is nothing that the client can mend.
    errors.AuthenticationFailed: Row(502, "server_error", "upstream_authentication", "api_error"),
    errors.ModelNotFound: Row(404, "invalid_request_error", "model_not_found", "not_found_error"),
    errors.ContextTooLong: Row(
        400, "invalid_request_error", "context_length_exceeded", "invalid_request_error", is_clients=True
    ),
    errors.ContentRefused: Row(
        400, "invalid_request_error", "content_filter", "invalid_request_error", is_clients=True
    ),
    errors.BadRequest: _INVALID,
    errors.RateLimited: Row(429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_error", again=True),
    errors.ProviderUnavailable: Row(502, "server_error", "upstream_unavailable", "api_error", again=True),
    errors.StreamTruncated: Row(502, "server_error", "stream_truncated", "api_error", again=True),
    errors.ProviderError: Row(502, "server_error", "upstream_error", "api_error"),
    errors.ClusterError: Row(503, "server_error", "cluster_unavailable", "api_error", again=True),
    errors.ByzerError: Row(500, "server_error", None, "api_error"),
}
"""By class; an error that is not in the table has the row of its nearest base class."""
QUOTA = Row(429, "insufficient_quota", "insufficient_quota", "rate_limit_error")
"""Of an account that must be paid for, or a budget that is spent: clients tell it from a passing limit by its code."""


class Problem(Exception):
    """A request that cannot be answered, in the terms of all wires.

    Args:
        status: of HTTP.
        message: one or two sentences for the client.
        kind: OpenAI's `type`.
        code: OpenAI's `code`.
        anthropic: Anthropic's `type`.
        param: the field of the request that is wrong, such as ``messages[0].role``.
        retry_after: seconds after which the client may try again; None where that is not known.
        again: whether the same request may succeed later.
        name: the class of the error that was raised, for metrics.
        details: what Anthropic's clients read as `error.details`.
        allow: the methods that the path has, where another was used.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        anthropic: str = "invalid_request_error",
        param: str | None = None,
        retry_after: float | None = None,
        again: bool = False,
        name: str = "BadRequest",
        details: dict[str, Any] | None = None,
        allow: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.anthropic = anthropic
        self.param = param
        self.retry_after = retry_after
        self.again = again
        self.name = name
        self.details = details
        self.allow = allow

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that tell clients whether and when to try again."""
        found = [] if self.again else [(b"x-should-retry", b"false")]
        if self.retry_after is not None:
            found.append((b"retry-after", str(max(1, math.ceil(self.retry_after))).encode()))
        if self.allow:
            found.append((b"allow", self.allow.encode()))
        return found


def of(err: BaseException) -> Problem:
    """Return an exception as a problem, with what its client can do; one that is not of the package goes to the log.

    Example:
        >>> of(errors.RateLimited("Rate limit exceeded (429).", retry_after=2)).headers
        [(b'retry-after', b'2')]
        >>> of(ZeroDivisionError()).status
        500
    """
    if isinstance(err, Problem):
        return err
    if not isinstance(err, errors.ByzerError):
        log.error("The request %s failed", request_ids.CURRENT.get(), exc_info=err)
        return Problem(
            500, _("The endpoint failed; see its log."), kind="server_error", anthropic="api_error",
            name=type(err).__name__,
        )  # fmt: skip
    row = row_of(err)
    again = row.again and not err.details.get("final", False)
    hint = err.hint if row.is_clients else row.hint or (TRY_AGAIN if again else TELL)
    wait: Any = err.details.get("retry_after")
    return Problem(
        row.status,
        redact(sentences(err.message, hint)),
        kind=row.kind,
        code=row.code,
        anthropic=row.anthropic,
        retry_after=float(wait) if isinstance(wait, int | float) and 0 <= wait < math.inf else None,
        again=again,
        name=err.code,
    )


def row_of(err: errors.ByzerError) -> Row:
    """Return how the wires call an error."""
    if isinstance(err, errors.BudgetSpent) or _is_spent(err):
        return QUOTA
    return next(ROWS[kind] for kind in type(err).__mro__ if kind in ROWS)


def _is_spent(err: errors.ByzerError) -> bool:
    """Return whether the provider's account has nothing left, so that waiting does not help."""
    spent = err.details.get("provider_code") == "insufficient_quota" or err.details.get("status") == 402
    return spent and isinstance(err, errors.RateLimited)


def ending() -> Problem:
    """Return the problem with a request whose answer is not complete when the endpoint ends."""
    return Problem(
        503, _("The endpoint is ending; the response is not complete."), kind="server_error", code="shutting_down",
        anthropic="api_error", again=True, name="Ending",
    )  # fmt: skip


def bad(message: str, param: str | None = None, code: str | None = None) -> Problem:
    """Return the problem with a request that is wrong itself.

    Args:
        message: what is wrong, and what is right.
        param: the field.
        code: OpenAI's `code`.
    """
    return Problem(400, message, param=param, code=code)
