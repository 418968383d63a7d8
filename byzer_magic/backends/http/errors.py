"""Providers' errors and their SDKs' exceptions as ours: what happened in one sentence, the next step, and no key.

Status codes and error codes: https://developers.openai.com/api/docs/guides/error-codes; a provider with other codes
gives them in its `Endpoint`.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from byzer_magic import errors
from byzer_magic.backends.http import pages, reasons, verdicts
from byzer_magic.backends.http.any_sentence import any_sentence
from byzer_magic.backends.http.endpoint import Endpoint as Endpoint
from byzer_magic.backends.http.redirects import MOVED, Redirected, not_followed
from byzer_magic.i18n import Text, lazy_gettext as _
from byzer_magic.safety import urls

PROXY_AUTHENTICATION = 407
MAX_STRAY_BYTES = 16 * 1024
"""How much of a body that is not as expected is searched for what it says."""
REQUEST_IDS = ("x-request-id", "request-id", "x-amzn-requestid", "x-tt-logid", "x-requestid")
"""Headers in which providers identify a request."""

NO_AUDIO = _("it has no audio")
NO_IMAGE = _("it has no image")
NO_CONTENT = _("it has no content")
"""What can be wrong with a response, for `unreadable`."""


class ErrorResponse(Exception):
    """The provider sent an error object where a chunk or a response was expected; `error` is that object."""

    def __init__(self, error: Any) -> None:
        super().__init__("the provider sent an error")
        self.error = error


class NoAnswer(ErrorResponse):
    """A response without an answer; `error` is what came instead: JSON, a text, or None."""


class Unreadable(ErrorResponse):
    """A response that cannot be read; `error` is our own text, or the web page that came instead."""


def from_exception(err: Exception, endpoint: Endpoint) -> errors.ByzerError:
    """Return our error for an exception of an SDK or of an HTTP library.

    It knows the exceptions of the openai and anthropic SDKs (which are alike), the transport and JSON errors that they
    let through in the middle of a stream, and `ErrorResponse`. Raise the result `from None`: the chain behind it may
    quote the key.
    """
    if isinstance(err, errors.ByzerError):
        return err
    own = next((cause for cause in _causes(err) if isinstance(cause, ErrorResponse | Redirected)), None)
    if isinstance(own, NoAnswer):
        return no_answer(own.error, endpoint)
    if isinstance(own, Unreadable):
        return unreadable(endpoint, own.error if isinstance(own.error, Text) else reasons.of(own.error).sentence)
    if isinstance(own, ErrorResponse):
        return from_response(own.error, endpoint)
    if isinstance(own, Redirected):
        return not_followed(own, endpoint)
    if hasattr(err, "status_code") and hasattr(err, "response"):
        return _from_status_error(err, endpoint)
    if isinstance(err, OSError) or _is_transport(err):
        return from_transport(err, endpoint)
    return unreadable(endpoint, str(err))


def _from_status_error(err: Any, endpoint: Endpoint) -> errors.ByzerError:
    try:
        body = err.response.content  # all of it: the SDK's `body` is only what is in `error`
    except Exception:  # noqa: BLE001 - it has not been read: httpx and its successor have an exception each for that
        body = err.body
    return from_response(body or err.body, endpoint, err.status_code, err.response.headers)


def from_response(
    body: Any, endpoint: Endpoint, status: int | None = None, headers: Mapping[str, str] | None = None
) -> errors.ByzerError:
    """Return our error for a provider's error body.

    Args:
        body: the JSON of the body as plain data, or its text or bytes.
        endpoint: where the request went.
        status: the HTTP status; None in the middle of a stream, where the error's code decides.
        headers: the response's headers, by names in lower case.

    Example:
        >>> error = from_response({"error": "slow down"}, Endpoint("gpt-4o", "https://api.x.com/v1"), 429)
        >>> error.message
        'api.x.com: rate limit exceeded for gpt-4o (429): slow down'
    """
    headers = headers or {}
    if status in MOVED:
        return not_followed(Redirected(status, endpoint.base_url, headers.get("location", "")), endpoint)
    code, kind, reason = reasons.of(body)
    if isinstance(body, Mapping) and isinstance(body.get("message"), Text):
        reason = body["message"]  # our own: it stays translatable
    if status is None:
        status = _known_status(body, code, kind, endpoint) or (400 if _special(code, kind, reason, endpoint) else 500)
    final = code == "insufficient_quota" or headers.get("x-should-retry") == "false"
    details = {
        "status": status,
        "request_id": next((headers[name] for name in REQUEST_IDS if name in headers), None),
        "retry_after": retry_after(headers),
        "provider_code": code or kind,
        "final": True if final else None,
    }
    error, template, hint = _verdict(status, code, kind, reason, endpoint)
    known = {name: endpoint.redacted(v) if isinstance(v, str) else v for name, v in details.items()}
    message = _(
        template.template,
        host=endpoint.host,
        model=endpoint.model,
        status=status,
        reason=_reason(reason or _other_reason(body, code or kind), endpoint) or _("no reason given"),
    )
    return error(message, hint, provider=endpoint.host, **{k: v for k, v in known.items() if v not in (None, "")})


def _reason(text: str, endpoint: Endpoint) -> str:
    """Return a provider's text redacted, and our own text as it is: it stays translatable."""
    return text if isinstance(text, Text) else endpoint.redacted(text)


def _other_reason(body: Any, code: str) -> str:
    """Return what stands for the sentence that an error does not have: its code, or the text of an unknown schema."""
    return code if code and not code.isdigit() else any_sentence(body) or code


def _known_status(body: Any, code: str, kind: str, endpoint: Endpoint) -> int | None:
    """Return the status that an error's code or type stands for, or that its body repeats."""
    if len(code) == 3 and code.isdecimal() and "400" <= code < "600":
        return int(code)
    known = {**verdicts.STREAM_STATUS, **endpoint.codes}
    by_name = (known.get(name) or known.get(name.lower()) for name in (code, kind))
    return next((status for status in by_name if status), None) or reasons.status_in(body)


def _verdict(status: int, code: str, kind: str, reason: str, endpoint: Endpoint) -> verdicts.Verdict:
    """Return class, template and hint of an error response."""
    if code == "insufficient_quota":
        return verdicts.QUOTA
    if status >= 500:
        error, template, hint = verdicts.SERVER_ERROR
    elif status in verdicts.BY_STATUS:
        error, template, hint = verdicts.BY_STATUS[status]
    else:
        special = _special(code, kind, reason, endpoint)
        error, template, hint = verdicts.BY_CLASS[special] if special else verdicts.INVALID
    return error, template, endpoint.hints.get(status, hint)


def _special(code: str, kind: str, reason: str, endpoint: Endpoint) -> type[errors.ProviderError] | None:
    """Return what a 400 is besides a bad request."""
    return verdicts.CODES.get(code or kind) or _by_pattern(f"{code} {reason}", endpoint)


def _by_pattern(text: str, endpoint: Endpoint) -> type[errors.ProviderError] | None:
    default: tuple[type[errors.ProviderError], str] = (errors.ContextTooLong, verdicts.TOO_LONG)
    patterns = (*endpoint.patterns, default)
    return next((found for found, pattern in patterns if re.search(pattern, text, re.IGNORECASE)), None)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how long the provider asks to wait, in seconds; None when it does not specify.

    Seconds and dates: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after; milliseconds are OpenAI's and Azure's.

    Example:
        >>> retry_after({"retry-after": "2.5"}), retry_after({"retry-after-ms": "1500"}), retry_after({})
        (2.5, 1.5, None)
    """
    value = headers.get("retry-after", "")
    try:
        if "retry-after-ms" in headers:
            found = float(headers["retry-after-ms"]) / 1000
        else:
            found = float(value) if value[:1].isdigit() and "," not in value else _until(value)
    except (ValueError, OverflowError):  # none, or a date of so many digits that no clock has them
        return None
    return max(0.0, found) if math.isfinite(found) else None


def _until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time.time()


def _causes(err: BaseException | None) -> Iterator[BaseException]:
    while err is not None:
        yield err
        err = err.__cause__ or err.__context__


def _is_transport(err: Exception) -> bool:
    """Return whether an HTTP library raised it: httpx2, httpx (openai 2), aiohttp, or an SDK on their behalf."""
    known = ("TransportError", "ClientError", "StreamError", "APIConnectionError")
    return any(cls.__name__ in known for cls in type(err).__mro__)


def _timed_out(err: Exception) -> bool:
    """Return whether the error is a timeout.

    The SDK's exception is not enough: its aiohttp transport reports a refused connection as a timeout. Its cause is.
    """
    names = [{cls.__name__ for cls in type(cause).__mro__} for cause in _causes(err)]
    if any("ClientError" in found for found in names):
        return any(found & {"TimeoutError", "ServerTimeoutError"} for found in names)
    return any(found & {"TimeoutError", "TimeoutException", "APITimeoutError"} for found in names)


def from_transport(err: Exception, endpoint: Endpoint) -> errors.ByzerError:
    """Return the error for a connection that could not be made, was closed, or timed out."""
    root = list(_causes(err))[-1]
    names = {cls.__name__ for cause in _causes(err) for cls in type(cause).__mro__}
    values = {"host": endpoint.host, "model": endpoint.model}
    said = str(root).partition(": b'")[0]  # aiohttp quotes the bytes that are no response
    reason = endpoint.redacted(said) or type(root).__name__
    connecting = "ConnectionTimeoutError" in names
    if _timed_out(err) and not connecting:
        message = _("{host}: request to {model} timed out.", **values)
        return errors.DeadlineExceeded(message, _("Increase saas.timeout."), provider=endpoint.host)
    if names & {"ClientSSLError", "ClientConnectorCertificateError", "SSLError"}:
        return untrusted(endpoint, root)
    if connecting or names & {"ClientConnectorError", "ConnectError", "ClientHttpProxyError", "ProxyError"}:
        return unreachable(endpoint, reason)
    message = _("{host}: connection closed before {model} finished its response: {reason}", **values, reason=reason)
    return errors.ProviderUnavailable(message, _("Try again."), provider=endpoint.host)


def unreachable(endpoint: Endpoint, reason: str) -> errors.ProviderUnavailable:
    """Return the error for a host, or the proxy before it, that accepts no connection."""
    proxy = endpoint.network.proxy(endpoint.base_url)
    message = _("Cannot connect to {url}: {reason}", url=endpoint.url, reason=reason)
    hint = _("Check saas.base_url, the network and the proxy.")
    if proxy is not None:
        source = endpoint.network.sources[urlsplit(endpoint.base_url).scheme]
        values = {"url": endpoint.url, "proxy": urls.without_password(proxy), "source": source, "reason": reason}
        message = _("Cannot connect to {url} through the proxy {proxy} ({source}): {reason}", **values)
        hint = _("Check {source}, or deploy with saas.proxy=none to use no proxy.", source=source)
    return errors.ProviderUnavailable(message, hint, provider=endpoint.host)


def untrusted(endpoint: Endpoint, err: BaseException) -> errors.ProviderUnavailable:
    """Return the error for a certificate that is not trusted, or another failure of TLS; it is not tried again."""
    reason = endpoint.redacted(getattr(err, "verify_message", "") or str(err)) or type(err).__name__
    return errors.ProviderUnavailable(
        _("{host}: the TLS connection failed: {reason}", host=endpoint.host, reason=reason),
        _(
            "Set saas.verify to the CA certificate file of the server or proxy, or set SSL_CERT_FILE where you "
            "deploy; saas.verify=false turns verification off."
        ),
        provider=endpoint.host,
        final=True,
    )


def no_answer(body: Any, endpoint: Endpoint) -> errors.ByzerError:
    """Return the error for a response that succeeded by its status, but has no answer.

    Args:
        body: what came instead: JSON, a text, or None when nothing came.
        endpoint: where the request went.

    Example:
        >>> no_answer({"code": 1302, "msg": "too many requests"}, Endpoint("glm", "https://api.x.com/v1")).message
        'api.x.com: no response from glm: too many requests'
    """
    code, kind, sentence = reasons.of(body)
    if _known_status(body, code, kind, endpoint) or _special(code, kind, sentence, endpoint):
        return from_response(body, endpoint)
    nothing = body in (None, "", b"")
    empty = _("the response is empty") if nothing else _("the response has no content")
    error, template, hint = verdicts.NO_ANSWER
    reason = _reason(sentence or (code if reasons.is_failed_code(code) else "") or empty, endpoint)
    message = _(template.template, host=endpoint.host, model=endpoint.model, reason=reason)
    details = {"provider_code": endpoint.redacted(code or kind)} if code or kind else {}
    if nothing:
        error = errors.StreamTruncated
    return error(message, hint, provider=endpoint.host, **details)


def not_json(data: bytes, endpoint: Endpoint, reason: str) -> errors.ByzerError:
    """Return the error for a body that should be JSON: with the title of a page, or the sentence that it is.

    Args:
        data: the body.
        endpoint: where the request went.
        reason: why it cannot be read, for a body that looks like JSON.
    """
    start = data[:MAX_STRAY_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] in (b"{", b"["):
        return unreadable(endpoint, reason)
    if pages.is_page(start.decode("utf-8", "replace")):
        return unreadable(endpoint, reasons.of(start).sentence)
    return no_answer(start, endpoint)


def unreadable(endpoint: Endpoint, reason: str) -> errors.ProviderUnavailable:
    """Return the error for a response that cannot be read; it is not tried again.

    Args:
        endpoint: where the request went.
        reason: what is wrong with the response; our own text, or an exception's, which may quote the response.
    """
    return errors.ProviderUnavailable(
        _(
            "{host}: unreadable response from {model}: {reason}",
            host=endpoint.host,
            model=endpoint.model,
            reason=_reason(reason, endpoint),
        ),
        _("Check that saas.base_url is the URL of the API itself (an OpenAI-compatible one often ends in /v1)."),
        provider=endpoint.host,
        final=True,
    )


def not_openai_schema(err: Exception, endpoint: Endpoint) -> errors.BadRequest:
    """Return the error for a message or a tool that a provider's schema module could not convert."""
    reason = f"{type(err).__name__}: {endpoint.redacted(str(err))}"
    return errors.BadRequest(
        _("A message or tool does not match OpenAI's schema: {reason}", reason=reason),
        _("Compare it with OpenAI's API reference."),
    )


def embeddings_missing(count: int, texts: int) -> str:
    """Return, for `unreadable`, that there is not one embedding per text."""
    return _("{count} embeddings for {texts} texts", count=count, texts=texts)


def stopped(said: Any, endpoint: Endpoint) -> errors.ByzerError:
    """Return the error for a response that ended with something else: by its code, or as one that was cut off."""
    code, kind, sentence = reasons.of(said)
    return from_response(said, endpoint) if _known_status(said, code, kind, endpoint) else truncated(endpoint, sentence)


def truncated(endpoint: Endpoint, reason: str = "") -> errors.StreamTruncated:
    """Return the error for a stream that ended before the provider marked the response as complete.

    Args:
        endpoint: where the request went.
        reason: what the provider said last that was not a part of the response.
    """
    values = {"host": endpoint.host, "model": endpoint.model}
    return errors.StreamTruncated(
        _(
            "{host}: stream from {model} ended before the response was complete: {reason}",
            **values,
            reason=_reason(reason, endpoint),
        )
        if reason
        else _("{host}: stream from {model} ended before the response was complete.", **values),
        _("Send the request again; the response so far is incomplete."),
        provider=endpoint.host,
    )
