"""Finding and starting a Ray cluster and its controller, without importing Ray."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from byzer_magic import errors
from byzer_magic.config import Settings
from byzer_magic.errors import CannotConnect
from byzer_magic.i18n import gettext, lazy_gettext as _
from byzer_magic.runtime.cluster import discovery, local_ray
from byzer_magic.runtime.cluster.address import AUTO, LOCAL, Target, check, resolve
from byzer_magic.runtime.cluster.auth_token import use_token
from byzer_magic.runtime.cluster.loopback import plain
from byzer_magic.runtime.cluster.probe import silent
from byzer_magic.runtime.cluster.ray_import import child_environment
from byzer_magic.runtime.cluster.this_machine import local_head, running_cluster
from byzer_magic.runtime.transport.protocol import Endpoint

Say = Callable[[str], None]

POLL_SECONDS = 0.05
STARTED_SECONDS = 30.0
"""How long the controller of a local Ray that was just started may take."""
EXTRA_SECONDS = 75.0
"""How much longer than Ray's answer may take the process that connects: importing Ray, starting the controller."""


class Cluster(NamedTuple):
    """A cluster that runs: its address, and where its controller listens."""

    address: str
    controller: Endpoint


def connect(address: str, settings: Settings, say: Say) -> Cluster:
    """Find the cluster that is meant, start it where it may be started, and return it with its controller.

    Args:
        address: ``host:port`` of a Ray head; `auto`: the cluster that the settings or RAY_ADDRESS name, else the one
            that runs on this machine, else a local Ray, which is started; `local`: the local Ray in any case.
        settings: timeouts, and the resources of a local Ray.
        say: receives progress messages.

    Raises:
        CannotConnect: nothing listens at the address, or Ray refuses or does not respond in time.
    """
    target = resolve(address, settings)
    if target.address == AUTO and (own := _of_this_process()):
        target = Target(own)
    if not target.is_here:
        check(target)
        target = Target(plain(target.address), target.source)
    started = False
    if target.is_here:
        only_local = target.address == LOCAL
        running = running_cluster(only_local=only_local)
        started = running is None
        target = Target(running or local_ray.start(settings, say, only_local=only_local))
    deadline = time.monotonic() + (STARTED_SECONDS if started else 0)
    while (endpoint := discovery.controller(target.address)) is None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    if endpoint is not None:
        return Cluster(target.address, endpoint)
    return _attached(target, settings.connect_seconds, say)


def _of_this_process() -> str:
    """Return the address of the cluster that the user's own code has connected this process to, or nothing."""
    ray = sys.modules.get("ray")
    if ray is None or not getattr(ray, "is_initialized", bool)():
        return ""
    return plain(str(ray.get_runtime_context().gcs_address))


def _attached(target: Target, seconds: float, say: Say) -> Cluster:
    """Have a process of its own connect to the cluster and start the controller."""
    use_token()  # what cannot be used is said at once
    say(gettext("Connecting to Ray at {address} ...", address=target.address))
    command = [sys.executable, "-m", "byzer_magic.runtime.cluster.attach", target.address, target.source, str(seconds)]
    process = subprocess.Popen(  # noqa: S603 - our own module
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(os.environ),
        start_new_session=True,  # Ctrl-C is for this process, which ends that one
    )
    try:
        written, complaint = process.communicate(timeout=seconds + EXTRA_SECONDS)
    except subprocess.TimeoutExpired as err:
        raise silent(target, seconds) from err
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
    from byzer_magic.runtime.cluster.attach import Attached

    try:
        found = msgspec.json.decode(written, type=Attached)
    except msgspec.DecodeError as err:
        lines = complaint.decode(errors="replace").strip().splitlines()
        raise CannotConnect(
            _("Ray at {address} refused the connection: {error}", address=target.address, error=(lines or ["?"])[-1])
        ) from err
    if found.error is not None:
        raise errors.from_wire(found.error)
    if found.controller is None:
        raise silent(target, seconds)
    for name in {target.address, found.address}:  # the next command finds it there
        with contextlib.suppress(OSError, CannotConnect):
            if discovery.controller(name) is None:
                discovery.announce_controller(discovery.socket_folder(name), found.controller)
    return Cluster(found.address, found.controller)


def shutdown(say: Say) -> bool:
    """Stop the local Ray that byzer-magic has started, and no other; return whether there was one.

    Args:
        say: receives progress messages.
    """
    head = local_head()
    if head is None:
        return False
    say(gettext("Stopping the local Ray ..."))
    local_ray.stop(head)
    return True
