"""Who may ask: the key of a request, what it may use, and how much of it."""

from __future__ import annotations

import contextlib
import functools
import hmac
import ipaddress
import socket
import time
from collections.abc import Collection, Mapping
from typing import Any

from byzer_magic.errors import ConfigError
from byzer_magic.gateway.keys import PREFIX, Key, KeyFile, digest_of
from byzer_magic.gateway.problems import Problem, bad
from byzer_magic.i18n import gettext as _, lazy_gettext, localized
from byzer_magic.log import get_logger
from byzer_magic.routing.rates import Taken, TokenWindow, Window
from byzer_magic.safety import tcp_peers

log = get_logger("gateway")

ANONYMOUS = ""
"""The name of clients where no key is needed."""
MASTER = "--api_key"
"""The name of the key that the command line sets."""
LONGEST_KEY = 512
"""A longer text is no key, and is not hashed."""


class Client:
    """A key that is in use, with its limits.

    Args:
        name: of the key.
        key: the stored key; None for all others, which have no limits.
        share: by how many replicas its limits are shared.
    """

    def __init__(self, name: str, key: Key | None = None, share: int = 1) -> None:
        self.name = name
        self.key = key
        self.owner = key.id if key else name
        """Whose what it stores is: a key made anew under the same name is another's."""
        self.models: frozenset[str] = frozenset(key.models if key else ())
        per_minute = (key.requests_per_minute, key.tokens_per_minute) if key else (0, 0)
        requests, tokens = (-(-limit // share) for limit in per_minute)
        self.requests, self.tokens = Window(requests), TokenWindow(tokens)

    @property
    def sees_metrics(self) -> bool:
        """Return whether it may see how much others use."""
        return self.key is None or self.key.metrics

    def sees(self, model: str) -> bool:
        """Return whether it may use a model."""
        return not self.models or model in self.models

    def begin(self) -> None:
        """Count a request.

        Raises:
            Problem: a limit is reached.
        """
        now = time.monotonic()
        if wait := self.requests.wait(now, 1.0):
            raise self._limited(self.requests, _("requests"), wait)
        if wait := self.tokens.wait(now, 1.0):
            raise self._limited(self.tokens, _("tokens"), wait)
        self.requests.take(1, now)

    def more(self, requests: int) -> None:
        """Count the request that has begun as several.

        Args:
            requests: how many, itself included.

        Raises:
            Problem: so many are not left, or are never.
        """
        if 0 < self.requests.limit < requests:
            raise bad(
                _(
                    "The request asks for {count} answers; the key {name} has {limit} requests a minute.",
                    count=requests, name=self.name, limit=self.requests.limit,
                ),
                "n",
            )  # fmt: skip
        now = time.monotonic()
        if wait := self.requests.wait(now, requests - 1):
            raise self._limited(self.requests, _("requests"), wait)
        self.requests.take(requests - 1, now)

    def reserve(self, prompt: float, answer: float, now: float, *, answers: int = 1) -> Taken | None:
        """Take tokens until it is known how many a request has; return what `settle` takes, None without a limit.

        Args:
            prompt: an estimate.
            answer: as many as it may have.
            now: as time.monotonic().
            answers: how many the call asks for; 0 where it was let in.

        Raises:
            Problem: the limit is reached.
        """
        if not self.tokens.limit:
            return None
        if answers and (seconds := self.tokens.wait_for(prompt, answer, now, answers=answers)):
            raise self._limited(self.tokens, _("tokens"), seconds)
        return self.tokens.reserve(prompt + answer, now)

    def settle(self, reserved: Taken | None, tokens: int) -> None:
        """Count the tokens of a request that has ended in place of those that were reserved."""
        if reserved is not None:
            self.tokens.settle(reserved, tokens, time.monotonic())

    def _limited(self, window: Window, what: str, wait: float) -> Problem:
        message = _(
            "The key {name} has reached its limit of {limit} {what} a minute. Try again in {seconds:.0f} s.",
            name=self.name, limit=window.limit, what=what, seconds=max(1.0, wait),
        )  # fmt: skip
        return Problem(
            429, message, kind="rate_limit_error", code="rate_limit_exceeded", anthropic="rate_limit_error",
            retry_after=wait, again=True, name="RateLimited",
        )  # fmt: skip


class Access:
    """The keys that an endpoint accepts.

    Args:
        api_key: a key that may use everything; empty for none.
        keys: the stored keys.
        share: how many replicas share the limits of a key.
        required: whether a key is needed even where there is none: whoever started the endpoint has found keys.

    Example:
        >>> Access().required, Access(required=True).required
        (False, True)
    """

    def __init__(
        self, api_key: str = "", keys: KeyFile | None = None, share: int = 1, *, required: bool = False
    ) -> None:
        self._master = digest_of(api_key) if api_key else ""
        self._keys = keys
        self._share = share
        self._required = required or bool(api_key)
        self._clients: dict[str, Client] = {}
        """Of stored keys, by id."""
        self._anonymous = Client(ANONYMOUS)
        self._admin = Client(MASTER)

    @property
    def required(self) -> bool:
        """Return whether a key is needed; once it is, it stays so, also when the file of keys has gone."""
        self._required = self._required or (self._keys is not None and self._keys.exists)
        return self._required

    @property
    def is_shared(self) -> bool:
        """Return whether other replicas answer for the same keys."""
        return self._share > 1

    def check(self) -> None:
        """Check that a key that is needed can be found.

        Raises:
            ConfigError: the file of keys is missing, or cannot be read.
        """
        if not self.required or self._master:
            return
        if self._keys is not None and self._keys.exists:
            self._keys.find("")
        else:
            path = self._keys.path if self._keys else ""
            raise ConfigError(
                lazy_gettext("The endpoint needs keys, but {path} is missing.", path=path),
                lazy_gettext("Put the file there, also on other nodes, or make a key: serve keys add NAME"),
            )

    def client(self, headers: Mapping[bytes, bytes]) -> Client:
        """Return the client that sends a request with these headers.

        Raises:
            Problem: its key is missing, unknown, revoked or expired.
        """
        try:
            if not self.required:
                return self._anonymous
            return self._of(_keys_in(headers))
        except ConfigError as err:  # the file cannot be read: nobody gets in
            log.error("%s", localized(err.text))  # noqa: TRY400 - the text is complete without a traceback
            raise Problem(
                503, _("The endpoint cannot read its keys."), kind="server_error", anthropic="api_error",
                name="ConfigError",
            ) from None  # fmt: skip

    def _of(self, keys: list[str]) -> Client:
        """Return the client of the first key that is known: programs send a made-up one beside it."""
        self.check()
        if not keys:
            raise _refused(_("This endpoint needs an API key: send it as Authorization: Bearer KEY, or as x-api-key."))
        for given in keys[:-1]:
            with contextlib.suppress(Problem):
                return self._known(given)
        return self._known(keys[-1])

    def _known(self, given: str) -> Client:
        digest = digest_of(given) if len(given) <= LONGEST_KEY else ""
        if self._master and hmac.compare_digest(digest, self._master):
            return self._admin
        key = self._stored(given)
        # The digest is compared in any case: how long this takes tells nothing.
        fits = hmac.compare_digest(digest, key.digest if key else "0" * 64)
        if key is None or not fits:
            raise _refused(_("The API key is not valid. Ask whoever runs this endpoint for one."))
        if not key.is_valid(time.time()):
            raise _refused(_("The API key {name} has expired.", name=key.name))
        client = self._clients.get(key.id)
        if client is None or client.key != key:
            client = self._clients[key.id] = Client(key.name, key, self._share)
        return client

    def _stored(self, given: str) -> Key | None:
        key_id, dash, _secret = given.removeprefix(f"{PREFIX}-").partition("-")
        return self._keys.find(key_id) if self._keys and dash and given.startswith(PREFIX) else None


def _keys_in(headers: Mapping[bytes, bytes]) -> list[str]:
    """Return the keys that headers have: as OpenAI's SDK sends them, and as Anthropic's."""
    given = headers.get(b"authorization", b"").decode("latin-1").strip()
    scheme, _space, token = given.partition(" ")
    keys = [
        token.strip() if scheme.lower() == "bearer" else "",
        headers.get(b"x-api-key", b"").decode("latin-1").strip(),
    ]
    return [key for key in keys if key]


def _refused(message: str) -> Problem:
    return Problem(
        401, message, kind="authentication_error", code="invalid_api_key", anthropic="authentication_error",
        name="AuthenticationFailed",
    )  # fmt: skip


LOCAL_NAMES = frozenset({"localhost", "ip6-localhost", socket.gethostname().lower()})
"""Names of this machine; any other may be one that a page has had lead here."""


PEER = "peer"
"""Where the state of a request has its `Peer`."""


class Peer:
    """The client of one connection.

    Args:
        client: its address.
        server: where it is connected to.
    """

    def __init__(self, client: tuple[str, Any], server: tuple[str, Any]) -> None:
        self._ends = client, server
        self._is_stranger: bool | None = None

    def is_stranger(self) -> bool:
        """Return whether it is another user of this machine; the system is asked once."""
        if self._is_stranger is None:
            self._is_stranger = tcp_peers.is_stranger(*self._ends)
        return self._is_stranger


class Neighbours:
    """Keeps others of this machine away from an endpoint that needs no key: its other users, and pages of other sites.

    A port of the loopback address is open to all users, so the kernel is asked whose a connection is. A browser sends
    the requests of pages, too: with the page's `Origin`, or, where the page has had its own name lead here, with that
    name as `Host`.

    Args:
        origins: whose pages may ask.
        local: whether the endpoint listens on this machine's loopback address only.
    """

    def __init__(self, origins: Collection[str], *, local: bool) -> None:
        self._origins = frozenset(origins)
        self._local = local

    def check(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> None:
        """Check whose a request is.

        Raises:
            Problem: it is another user's, or of another site's page.
        """
        peer: Peer | None = scope.get("state", {}).get(PEER)
        if self._local and peer is not None and peer.is_stranger():
            raise _forbidden(_("This endpoint is for the user who runs it only; ask them for a key."))
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if host and not _is_own(_name_of(host)):
            raise _forbidden(_("This endpoint is for {host} only; start it with an --api_key.", host="127.0.0.1"))
        origin = headers.get(b"origin", b"").decode("latin-1")
        if not origin or "*" in self._origins or origin in self._origins:
            return
        if origin.partition("://")[2].lower() != host:
            raise _forbidden(
                _("Pages of {origin} may not use this endpoint; allow it with --allowed_origins.", origin=origin)
            )


def _name_of(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


@functools.lru_cache(maxsize=64)
def _is_own(host: str) -> bool:
    """Return whether a host is this machine's name or an address, which no page can have lead elsewhere."""
    if host in LOCAL_NAMES:
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _forbidden(message: str) -> Problem:
    return Problem(403, message, code="forbidden", anthropic="permission_error", name="Forbidden")
