"""An endpoint in a process that others have started: one replica of several, in a cluster."""

from __future__ import annotations

import os
import socket
import time
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TYPE_CHECKING

from byzer_magic import config
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import ServeSpec
from byzer_magic.errors import ConfigError
from byzer_magic.gateway import command, server
from byzer_magic.gateway.keys import KeyFile
from byzer_magic.gateway.sharing import share as share_port
from byzer_magic.i18n import set_language
from byzer_magic.runtime.loop import LOOP

if TYPE_CHECKING:
    from uvicorn import Server

POLL_SECONDS = 0.05


class Running:
    """An endpoint that serves.

    Args:
        url: where.
        running: uvicorn's server.
        done: ends with it.
        sharing: says that the port is shared, see `sharing`; closed with it.
    """

    def __init__(self, url: str, running: Server, done: Future[None], sharing: socket.socket | None = None) -> None:
        self.url = url
        self.pid = os.getpid()
        self._running = running
        self._done = done
        self._sharing = sharing

    def stop(self, grace: float) -> None:
        """Accept no more requests, and let those that run finish, for `grace` seconds at most."""
        self._running.should_exit = True
        deadline = time.monotonic() + grace
        while not self._done.done() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        self._running.force_exit = True
        wait([self._done], server.LAST_WORDS_SECONDS)
        if self._sharing:
            self._sharing.close()


def start(spec: ServeSpec, key: str, keys: str, share: int, *, closed: bool, cluster: str = "") -> Running:
    """Start an endpoint in this process, and return while it serves.

    Args:
        spec: the command, without its key.
        key: the key that may use everything; empty for none.
        keys: the path of the stored keys.
        share: how many replicas share the limits of the keys.
        closed: whether a key is needed, also where that file is missing.
        cluster: the name of the cluster, with whose replicas this one shares its port.

    Raises:
        ConfigError: the port is in use, also by an endpoint of another cluster, or the keys are missing.
        MissingExtra: a package is not installed on this node.
    """
    command.check_installed()
    from byzer_magic.gateway.gateway import application

    settings = config.load(spare=0)
    set_language(settings.lang)
    command.keep_journal(spec, settings)
    server.check_tls(spec.ssl_certfile, spec.ssl_keyfile)
    cors = command.cors_of(spec)
    server.use_fast_loop()
    manager = Manager(settings)
    manager.ensure()
    gateway = command.make(manager, spec, key, KeyFile(Path(keys)), share, closed=closed)
    sharing = share_port(spec.port, cluster) if spec.port else None
    try:
        listening = server.listen(spec.host, spec.port, shared=True)
    except ConfigError:
        if sharing:
            sharing.close()
        raise
    port = listening.getsockname()[1]
    running = server.prepare(application(gateway, cors), spec.uvicorn_log_level, spec.ssl_certfile, spec.ssl_keyfile)
    done = LOOP.spawn(server.serve(running, listening))
    return Running(command.url_of(spec, port), running, done, sharing)
