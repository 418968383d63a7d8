"""HTTP redirects: which are followed, and what to do about the others.

Libraries follow all of them. But 301, 302 and 303 turn a POST into a GET without a body, which ends as a puzzling 404
or 405 (https://www.rfc-editor.org/rfc/rfc9110#name-redirection-3xx), and what goes to another host takes keys and
prompts along.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from byzer_magic.backends.http.endpoint import Endpoint
from byzer_magic.errors import ByzerError, ProviderUnavailable
from byzer_magic.i18n import lazy_gettext as _

MOVED = (301, 302, 303, 307, 308)
SAME_REQUEST = (307, 308)
"""Statuses with which the request is sent again as it is."""
MAX_REDIRECTS = 3
_PORTS = {"http": 80, "https": 443}


class Redirected(Exception):
    """A redirect that is not followed."""

    def __init__(self, status: int, url: str, location: str) -> None:
        super().__init__(f"redirected ({status})")
        self.status = status
        self.url = url
        self.location = location


def followed(status: int, url: str, location: str | None) -> str:
    """Return where to send a request again.

    Args:
        status: the status of the response, one of `MOVED`.
        url: where the request went.
        location: the response's header of that name.

    Raises:
        Redirected: it would not be the same request, or would go to another host.

    Example:
        >>> followed(308, "http://api.x.com/v1/chat", "https://api.x.com/v1/chat/")
        'https://api.x.com/v1/chat/'
        >>> followed(302, "https://api.x.com/v1/chat", "/v2/chat")
        Traceback (most recent call last):
        byzer_magic.backends.http.redirects.Redirected: redirected (302)
    """
    try:
        target = urljoin(url, location or "")
    except ValueError:  # a bracket without its other half, for example
        raise Redirected(status, url, "") from None
    if status not in SAME_REQUEST or not location or not _is_same_host(url, target):
        raise Redirected(status, url, target if location else "")
    return target


def _is_same_host(url: str, target: str) -> bool:
    """Return whether two URLs are of one server; the second may be the encrypted one of the first."""
    try:
        (old, old_port), (new, new_port) = ((part, part.port) for part in (urlsplit(url), urlsplit(target)))
    except ValueError:  # a port that is not a number
        return False
    if old.hostname != new.hostname:
        return False
    if (old.scheme, new.scheme) == ("http", "https"):
        return (old_port or 80, new_port or 443) == (80, 443)
    return old.scheme == new.scheme and (old_port or _PORTS.get(old.scheme)) == (new_port or _PORTS.get(new.scheme))


async def check(response: Any) -> None:
    """Check a response of httpx before it is followed: an event hook of the SDKs' clients.

    Raises:
        Redirected: the redirect must not be followed.
    """
    if response.status_code in MOVED:
        plain = response.request.method in ("GET", "HEAD")  # which stay so, whatever the status
        status = SAME_REQUEST[0] if plain else response.status_code
        followed(status, str(response.request.url), response.headers.get("location"))


def not_followed(redirect: Redirected, endpoint: Endpoint) -> ByzerError:
    """Return the error for a redirect that is not followed."""
    values = {"host": endpoint.host, "status": redirect.status}
    target = endpoint.redacted(_shown(redirect.location))
    if not target:
        message = _("{host}: the server redirects ({status}), but does not say where to.", **values)
        return _error(message, _("Check saas.base_url."), endpoint)
    message = _("{host}: the URL redirects to {target} ({status}).", **values, target=target)
    base = _base_url(redirect, endpoint)
    if base:
        return _error(message, _("Deploy with saas.base_url={url}", url=endpoint.redacted(base)), endpoint)
    hint = _("Requests are not sent there. Set saas.base_url to the URL of the API itself, perhaps at that address.")
    return _error(message, hint, endpoint)


def _error(message: str, hint: str, endpoint: Endpoint) -> ByzerError:
    return ProviderUnavailable(message, hint, provider=endpoint.host, final=True)


def _shown(url: str) -> str:
    """Return a URL without user, password, query and fragment: they may have keys."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _base_url(redirect: Redirected, endpoint: Endpoint) -> str:
    """Return the base URL with which requests would go to the target; empty when that cannot be known."""
    path = urlsplit(redirect.url).path.removeprefix(urlsplit(endpoint.base_url).path.rstrip("/"))
    target = _shown(redirect.location)
    return target.removesuffix(path) if len(path) > 1 and target.endswith(path) else ""
