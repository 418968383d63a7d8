"""Finding a pool or an engine, and connecting to it: it may be restarting, have moved, or be of another version."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidHandshake

from byzer_magic import config, errors
from byzer_magic.i18n import Text, lazy_gettext as _
from byzer_magic.runtime.transport import protocol
from byzer_magic.runtime.transport.connecting import connect_to

RECONNECT_SECONDS = 15.0
"""How long a call tries to reconnect to a pool that is being restarted."""
SAME_ENDPOINT_SECONDS = 4.0
"""After this time the endpoint is looked up again: Ray may have restarted the pool on another node."""
RETRY_SECONDS = 0.05
"""Pause between two attempts to connect within the first `SAME_ENDPOINT_SECONDS`."""
SLOW_RETRY_SECONDS = 0.5
"""Pause between two attempts after that."""

Find = Callable[[], Awaitable[protocol.Endpoint]]


class Dialer:
    """Connects to the last endpoint, where a restarted pool listens again, else to the one that `find` returns.

    Args:
        name: how errors name the other side.
        find: returns the current endpoint.
    """

    def __init__(self, name: str, find: Find) -> None:
        self.endpoint: protocol.Endpoint | None = None
        """The last one that was found."""
        self._name = name
        self._find = find

    async def dial(self) -> ClientConnection:
        """Return a new connection.

        Raises:
            WorkerLost: nothing answers, not even after `RECONNECT_SECONDS`.
            CannotConnect: what listens is of another cluster, or of another version.
        """
        started = time.monotonic()
        while True:
            waited = time.monotonic() - started
            found = False
            try:
                if self.endpoint is None or waited > SAME_ENDPOINT_SECONDS:
                    self.endpoint, found = await self._find(), True
                    check_version(self._name, self.endpoint)
                return await connect_to(self.endpoint)
            except (OSError, InvalidHandshake, TimeoutError) as err:
                if isinstance(err, ssl.SSLCertVerificationError):
                    if found:
                        raise self._another(err) from err
                    self.endpoint = None  # another process listens where it did
                if isinstance(err, FileNotFoundError):  # undeployed, not killed: there may be a new pool by now
                    self.endpoint = None
                if waited > RECONNECT_SECONDS:
                    raise errors.WorkerLost(
                        _("{name} does not respond.", name=self._name),
                        _("See %byzer stat, or deploy it again with --replace."),
                    ) from err
                await asyncio.sleep(RETRY_SECONDS if waited < SAME_ENDPOINT_SECONDS else SLOW_RETRY_SECONDS)

    def _another(self, err: ssl.SSLCertVerificationError) -> errors.CannotConnect:
        return errors.CannotConnect(
            _(
                "{name}: what listens at its address has no certificate of its cluster ({reason}). Nothing was sent.",
                name=self._name,
                reason=err.verify_message,
            ),
            _("See %byzer stat, or deploy it again with --replace."),
        )


def check_version(name: str | Text, endpoint: protocol.Endpoint) -> None:
    """Refuse to talk to a process with another version of byzer-magic, whose messages may have other fields.

    Args:
        name: how the error names that process.
        endpoint: where it listens.

    Raises:
        CannotConnect: its version is another one.
    """
    if endpoint.version != config.VERSION:
        raise errors.CannotConnect(
            _(
                "{name} runs byzer-magic {theirs} on {host}, this process has {ours}.",
                name=name,
                theirs=endpoint.version or "?",
                host=endpoint.host,
                ours=config.VERSION,
            ),
            _("Install the same version on both. The local Ray takes this one when it is restarted: shutdown"),
        )
