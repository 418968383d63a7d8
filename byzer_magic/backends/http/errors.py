"""From what providers and their SDKs say or raise to our errors: one sentence, one hint, no key.

Status codes and error codes: https://developers.openai.com/api/docs/guides/error-codes; other providers' codes are
given by their files, as `codes`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from byzer_magic import errors
from byzer_magic.log import redact


class Fault(Exception):
    """The provider sent an error where a piece of an answer was due; `error` is what it said."""

    def __init__(self, error: Any) -> None:
        super().__init__(str(error))
        self.error = error


LONGEST_REASON = 400
"""Characters of a provider's own text that are passed on."""

SHORTEST_PIECE = 8
"""Characters of a key in a row that are hidden wherever they appear."""

_SAID: dict[int, tuple[type[errors.RequestError], str, str]] = {
    401: (errors.AuthenticationFailed, "refused the key", "Check saas.api_key."),
    402: (errors.RateLimited, "wants to be paid", "Check the account's balance and billing."),
    403: (errors.AuthenticationFailed, "denies access", "Check what the key may use, and the region."),
    404: (errors.ModelNotFound, "was not found", "Check saas.model and saas.base_url."),
    408: (errors.DeadlineExceeded, "gave up waiting", "Try again, or allow more with saas.timeout."),
    429: (errors.RateLimited, "takes no more requests now", "Wait, or lower --worker_concurrency."),
}
_CODES = {
    "context_length_exceeded": errors.ContextTooLong,
    "exceed_context_size_error": errors.ContextTooLong,
    "content_filter": errors.ContentRefused,
    "content_policy_violation": errors.ContentRefused,
}
_HINTS: dict[type[errors.ByzerError], str] = {
    errors.ContextTooLong: "Shorten the conversation, or use a model with a longer context.",
    errors.ContentRefused: "Change the prompt; the provider's filter decides.",
}
REQUEST_IDS = ("x-request-id", "request-id", "x-amzn-requestid", "x-tt-logid", "x-requestid")
"""Headers in which providers name a request."""

_STREAM_STATUS = {
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
}
"""Statuses of the errors that come inside a stream, where the HTTP status was 200 already."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asked what of whom: the words that a message needs, and the secrets that it must not have."""

    model: str
    base_url: str
    secrets: tuple[str, ...] = ()
    hints: Mapping[int, str] = field(default_factory=dict)
    """Next steps by status, where a provider's settings are not named like OpenAI's."""
    codes: Mapping[str, int] = field(default_factory=dict)
    """Statuses of the provider's own error codes, for errors that come without one."""

    @property
    def host(self) -> str:
        """Return host and port of the provider."""
        return urlsplit(self.base_url).netloc.rpartition("@")[2] or self.base_url

    @property
    def address(self) -> str:
        """Return the base URL without a password that it may have."""
        return re.sub(r"//[^/@]*@", "//", self.base_url)

    def hide(self, text: str) -> str:
        """Return `text` in one line, without keys, parts of keys or what looks like one."""
        for secret in self.secrets:
            text = _without_pieces(redact(text, (secret,)), secret)
        text = re.sub(r"\S*\*{3,}[^\s.,;]*", "***", redact(text))  # providers echo keys as sk-ab***yz
        text = " ".join(text.split())
        return text if len(text) <= LONGEST_REASON else text[:LONGEST_REASON] + "..."


def _without_pieces(text: str, secret: str) -> str:
    for start in range(len(secret) - SHORTEST_PIECE + 1):
        text = text.replace(secret[start : start + SHORTEST_PIECE], "***")
    return text


def translate(err: Exception, caller: Caller) -> errors.ByzerError:
    """Return the error of ours that says what `err` says.

    It knows the exceptions of the openai and anthropic SDKs (which are alike), the transport and JSON errors that they
    let through in the middle of a stream, and `Fault`. Raise the result `from None`: the chain behind it may quote the
    key.
    """
    if isinstance(err, errors.ByzerError):
        return err
    if isinstance(err, Fault):
        return refused(err.error, caller)
    if hasattr(err, "status_code") and hasattr(err, "response"):
        return _from_status(err, caller)
    if isinstance(err, OSError) or _is_transport(err):
        return from_transport(err, caller)
    return garbled(caller, str(err))


def _from_status(err: Any, caller: Caller) -> errors.ByzerError:
    body = err.body if err.body is not None else err.response.text
    return refused(body, caller, err.status_code, err.response.headers)


def refused(
    body: Any, caller: Caller, status: int | None = None, headers: Mapping[str, str] | None = None
) -> errors.ByzerError:
    """Return the error that a provider's error body says; without a `status`, its code tells what it is."""
    headers = headers or {}
    code, kind, reason = parts(body)
    if status is None:
        status = _status_of(code, kind, caller)
    final = code == "insufficient_quota" or headers.get("x-should-retry") == "false"
    details = {
        "status": status,
        "request_id": next((headers[name] for name in REQUEST_IDS if name in headers), None),
        "retry_after": retry_after(headers),
        "provider_code": code or kind,
        "final": True if final else None,
    }
    error, words, hint = _verdict(status, code or kind, reason)
    hint = caller.hints.get(status, hint)
    if code == "insufficient_quota":
        words, hint = "has no quota left", "Check the account's plan and billing; waiting does not help."
    told = caller.hide(reason) or "no reason given"
    known = {name: caller.hide(v) if isinstance(v, str) else v for name, v in details.items() if v not in (None, "")}
    message = f"{caller.model} at {caller.host} {words} ({status}): {told}"
    return error(message, hint, provider=caller.host, **known)


def _status_of(code: str, kind: str, caller: Caller) -> int:
    if code.isdigit() and 400 <= int(code) < 600:
        return int(code)
    known = {**_STREAM_STATUS, **caller.codes}
    return known.get(code) or known.get(kind) or 500


def _verdict(status: int, code: str, reason: str) -> tuple[type[errors.RequestError], str, str]:
    """Return class, words and hint of a refusal."""
    if status >= 500:
        return errors.ProviderUnavailable, "failed", "Try again; the fault is the provider's."
    if status in _SAID:
        return _SAID[status]
    special = _CODES.get(code)
    if special is None and re.search(r"context (length|size|window)|too many tokens|prompt is too long", reason, re.I):
        special = errors.ContextTooLong
    kind = special or errors.BadRequest
    return kind, "did not accept the request", _HINTS.get(kind, "Change what the message names.")


def parts(body: Any) -> tuple[str, str, str]:
    """Return code, type and sentence of an error body, whichever of the usual shapes it has."""
    if isinstance(body, Mapping):
        inner = body.get("error")
        if isinstance(inner, Mapping):
            return parts(inner)
        sentence = body.get("message") or inner or body.get("detail") or body.get("error_msg") or ""
        return str(body.get("code") or ""), str(body.get("type") or ""), _text(sentence)
    return "", "", _text(body)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else str(value or "")
    if text.lstrip()[:1] == "<":  # a gateway's HTML page
        title = re.search(r"<title>(.*?)</title>", text, re.I | re.S)
        return title[1] if title else "an HTML page instead of an answer"
    return text


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how long the provider asks to wait, in seconds; its three spellings are understood."""
    try:
        if "retry-after-ms" in headers:
            return float(headers["retry-after-ms"]) / 1000
        value = headers.get("retry-after", "")
        if not value:
            return None
        return float(value) if value[0].isdigit() and "," not in value else _until(value)
    except ValueError:
        return None


def _until(date: str) -> float:
    return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())


def _causes(err: BaseException | None) -> Iterator[BaseException]:
    while err is not None:
        yield err
        err = err.__cause__ or err.__context__


def _is_transport(err: Exception) -> bool:
    """Return whether an HTTP library raised it: httpx2, httpx (openai 2), aiohttp, or an SDK in their name."""
    known = ("TransportError", "ClientError", "StreamError", "APIConnectionError")
    return any(cls.__name__ in known for cls in type(err).__mro__)


def _timed_out(err: Exception) -> bool:
    """Return whether time ran out.

    The SDK cannot be asked: its aiohttp transport reports a refused connection as a timeout. The cause tells.
    """
    names = [{cls.__name__ for cls in type(cause).__mro__} for cause in _causes(err)]
    if any("ClientError" in found for found in names):
        return any(found & {"TimeoutError", "ServerTimeoutError"} for found in names)
    return any(found & {"TimeoutError", "TimeoutException", "APITimeoutError"} for found in names)


def from_transport(err: Exception, caller: Caller) -> errors.ByzerError:
    """Return the error for a connection that could not be made, broke, or fell silent."""
    root = list(_causes(err))[-1]
    names = {cls.__name__ for cause in _causes(err) for cls in type(cause).__mro__}
    why = caller.hide(str(root)) or type(root).__name__
    unreachable = "ConnectionTimeoutError" in names
    if _timed_out(err) and not unreachable:
        return errors.DeadlineExceeded(
            f"{caller.model} at {caller.host} did not answer in time.",
            "Allow more with saas.timeout.",
            provider=caller.host,
        )
    if unreachable or names & {"ClientConnectorError", "ConnectError"}:
        hint = "Check saas.base_url, the network and the proxy."
        return errors.ProviderUnavailable(f"Cannot reach {caller.address}: {why}", hint, provider=caller.host)
    message = f"{caller.host} closed the connection before {caller.model} had answered: {why}"
    return errors.ProviderUnavailable(message, "Try again.", provider=caller.host)


def garbled(caller: Caller, why: str) -> errors.ByzerError:
    """Return the error for an answer that cannot be read."""
    return errors.ProviderUnavailable(
        f"{caller.host} sent something that is not an answer of {caller.model}: {caller.hide(why)}",
        "Check that saas.base_url leads to the API itself (an OpenAI-compatible one often ends in /v1).",
        provider=caller.host,
        final=True,
    )
