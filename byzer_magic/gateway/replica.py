"""An endpoint in a process that others have started: one replica of several, in a cluster."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TYPE_CHECKING

from byzer_magic import config
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import ServeSpec
from byzer_magic.gateway import command, server
from byzer_magic.gateway.keys import KeyFile
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
    """

    def __init__(self, url: str, running: Server, done: Future[None]) -> None:
        self.url = url
        self.pid = os.getpid()
        self._running = running
        self._done = done

    def stop(self, grace: float) -> None:
        """Accept no more requests, and let those that run finish, for `grace` seconds at most."""
        self._running.should_exit = True
        deadline = time.monotonic() + grace
        while not self._done.done() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        self._running.force_exit = True
        wait([self._done], server.LAST_WORDS_SECONDS)


def start(spec: ServeSpec, key: str, keys: str, share: int, *, closed: bool) -> Running:
    """Start an endpoint in this process, and return while it serves.

    Args:
        spec: the command, without its key.
        key: the key that may use everything; empty for none.
        keys: the path of the stored keys.
        share: how many replicas share the limits of the keys.
        closed: whether a key is needed, also where that file is missing.

    Raises:
        ConfigError: the port is in use, or the keys are missing.
        MissingExtra: a package is not installed on this node.
    """
    command.check_installed()
    from byzer_magic.gateway.gateway import application

    settings = config.load(spare=0)
    set_language(settings.lang)
    server.check_tls(spec.ssl_certfile, spec.ssl_keyfile)
    cors = command.cors_of(spec)
    server.use_fast_loop()
    manager = Manager(settings)
    manager.ensure()
    gateway = command.make(manager, spec, key, KeyFile(Path(keys)), share, closed=closed)
    listening = server.listen(spec.host, spec.port, shared=True)
    port = listening.getsockname()[1]
    running = server.prepare(application(gateway, cors), spec.uvicorn_log_level, spec.ssl_certfile, spec.ssl_keyfile)
    done = LOOP.spawn(server.serve(running, listening))
    return Running(command.url_of(spec, port), running, done)
