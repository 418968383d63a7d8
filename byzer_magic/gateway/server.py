"""Listening: a socket, TLS, and uvicorn on the package's own loop, so that no answer changes threads on its way."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byzer_magic.errors import ConfigError
from byzer_magic.files.paths import why_missing
from byzer_magic.i18n import gettext, lazy_gettext as _
from byzer_magic.log import RedactingFilter
from byzer_magic.runtime.garbage import tune_collector
from byzer_magic.runtime.loop import LOOP

if TYPE_CHECKING:
    from uvicorn import Server

MOST_PORT = 65_535
BACKLOG = 2048
"""Connections that may wait to be accepted."""
KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept: longer than most clients and proxies keep theirs, so that they close first."""
GRACE_SECONDS = 600
"""How long streams may go on after the endpoint was asked to end."""
LAST_WORDS_SECONDS = 2.0
"""How long the end of answers that are not complete may take to be sent."""
MOST_FILES = 65_536
"""Files, and so connections, that the process may have open."""
HANDLED = (signal.SIGINT, signal.SIGTERM)


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: an address of this machine, or its name.
        port: 0 for any that is free.
        shared: whether other processes of this user may listen there, too.

    Raises:
        ConfigError: the address is not this machine's, or the port is in use.
    """
    if not 0 <= port <= MOST_PORT:  # getaddrinfo takes another one
        raise ConfigError(
            _("--port is {port}, which is not between 0 and {most}.", port=port, most=MOST_PORT),
            _("Use such a number; 0 takes any that is free."),
        )
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, *_others, address = min(found, key=lambda one: one[0] != socket.AF_INET)  # of localhost, 127.0.0.1
        listening = socket.create_server(address[:2], family=family, backlog=BACKLOG, reuse_port=shared)
    except (OSError, UnicodeError) as err:
        raise _cannot_listen(host, port, err) from None
    # The connections inherit it; asyncio sets it for sockets of another making only, uvloop for all.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _cannot_listen(host: str, port: int, err: Exception) -> ConfigError:
    number = err.errno if isinstance(err, OSError) else None
    if number == errno.EADDRINUSE:
        return ConfigError(
            _("Port {port} of {host} is in use.", port=port, host=host),
            _("Choose another --port, or end what listens there; an endpoint in the cluster: serve --stop"),
        )
    if number == errno.EACCES:
        return ConfigError(
            _("Port {port} is for the administrator of this machine only.", port=port),
            _("Choose a --port from 1024 on."),
        )
    if isinstance(err, socket.gaierror | UnicodeError) or number == errno.EADDRNOTAVAIL:
        return ConfigError(
            _("{host} is not an address of this machine.", host=repr(host)),
            _("Use --host 127.0.0.1, or 0.0.0.0 for all addresses of this machine."),
        )
    reason = os.strerror(number) if number else err
    return ConfigError(
        _("Cannot listen on {host}:{port}: {reason}.", host=host, port=port, reason=reason), _("Choose another --port.")
    )


def check_tls(certfile: str | None, keyfile: str | None) -> None:
    """Check the files for HTTPS before anything starts.

    Raises:
        ConfigError: one is missing, or they do not fit.
    """
    if not certfile:
        if keyfile:
            raise ConfigError(_("--ssl_keyfile needs --ssl_certfile."), _("Give both files, or none."))
        return
    for path in filter(None, (certfile, keyfile)):
        if Path(path).is_dir():
            raise ConfigError(_("{path} is a folder.", path=path), _("Specify a PEM file in it."))
        if not Path(path).is_file():
            raise ConfigError(*why_missing(path))

    def password() -> str:  # OpenSSL would ask the terminal, where there is one, in each process
        raise ConfigError(
            _("{path} is encrypted, and the endpoint has no password for it.", path=keyfile or certfile),
            _("Decrypt it into a file that only you can read: openssl pkey -in KEY.pem -out PLAIN.pem"),
        )

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile, password)
    except (ssl.SSLError, OSError, ValueError) as err:
        raise ConfigError(
            _("HTTPS cannot be served with {path}: {error}.", path=certfile, error=err),
            _("Check that both files are PEM and belong together."),
        ) from None


def prepare(app: Any, level: str, certfile: str | None = None, keyfile: str | None = None) -> Server:
    """Return the server of an application; it does not listen yet.

    Args:
        app: the ASGI application.
        level: of what goes to stderr.
        certfile: for HTTPS.
        keyfile: for HTTPS.
    """
    import uvicorn

    from byzer_magic.gateway.connections import Connection

    _log_to_stderr(level)
    settings = uvicorn.Config(
        app,
        http=Connection,
        proxy_headers=False,  # whoever connects could pretend to be another
        loop="none",
        lifespan="off",
        ws="none",  # there is nothing to upgrade to
        log_config=None,
        access_log=False,  # ours has the model and the tokens
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
    )
    return uvicorn.Server(settings)


def _log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(RedactingFilter())
    number = {"trace": logging.DEBUG}.get(level, logging.getLevelName(level.upper()))
    for name, least in (("byzer_magic.gateway", number), ("uvicorn.error", max(number, logging.WARNING))):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(least)
        logger.propagate = False


def run(server: Server, listening: socket.socket, say: Callable[[str], None]) -> None:
    """Serve until a signal ends it: the first lets answers that have begun finish, the second does not."""
    with _ended_by_signals(server, say):
        LOOP.run(serve(server, listening))


async def serve(server: Server, listening: socket.socket) -> None:
    """Serve until the server is told to exit; answers that are not complete then end with an error."""
    await server.serve(sockets=[listening])
    if tasks := [*server.server_state.tasks]:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=LAST_WORDS_SECONDS)


@contextlib.contextmanager
def _ended_by_signals(server: Server, say: Callable[[str], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: object) -> None:
        if server.should_exit:
            server.force_exit = True
            return
        server.should_exit = True
        if server.server_state.tasks:
            say(gettext("Ending when the answers that have begun are complete; press Ctrl-C again to end at once."))

    before = {number: signal.signal(number, end) for number in HANDLED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def use_fast_loop() -> int:
    """Run the package's loop on uvloop where it is installed; return how many connections the system allows.

    Call this once the endpoint is imported, before anything uses the loop.
    """
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if most == resource.RLIM_INFINITY else min(most, MOST_FILES)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(least, wanted), most))
    tune_collector()
    LOOP.start(fast=True)
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
