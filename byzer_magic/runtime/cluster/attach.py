"""`python -m byzer_magic.runtime.cluster.attach`: connects to a Ray cluster, and has its controller started.

Importing Ray, and connecting to it, takes seconds and 65 MB. A face leaves both to this process, which ends when the
controller listens; from then on the face talks to that.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import secrets
import sys
import threading
from typing import Any

import msgspec

from byzer_magic import errors
from byzer_magic.commands.secrets import Secret
from byzer_magic.errors import CannotConnect
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.runtime.cluster import discovery
from byzer_magic.runtime.cluster.address import Target
from byzer_magic.runtime.cluster.auth_token import use_token
from byzer_magic.runtime.cluster.loopback import for_ray, plain
from byzer_magic.runtime.cluster.probe import foreign, probe, silent
from byzer_magic.runtime.cluster.ray_import import import_ray
from byzer_magic.runtime.transport.protocol import Endpoint

NAMESPACE = "byzer"
"""The Ray namespace of all deployments: actor names are unique within a namespace."""
CONTROL_NAMESPACE = "byzer-control"
"""The controller's namespace, a separate one, so that its name cannot clash with an alias."""
CONTROLLER_SECONDS = 60.0
"""How long Ray may take to start the controller's process."""
_VERSIONS = re.compile(r"Ray: (\S++)\s++Python: (\S++)")


def main() -> None:
    """Connect to the cluster that the arguments name; write its address and controller, or the error, to stdout."""
    address, source, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what Ray prints is not the answer
    try:
        found = attach(Target(address, source), seconds)
    except errors.ByzerError as err:
        answer.write(msgspec.json.encode({"error": errors.to_wire(err)}, enc_hook=str))
    else:
        answer.write(msgspec.json.encode(found))
    answer.close()
    os._exit(0)  # leaving Ray takes more than a second, and there is nothing to tidy up


class Attached(msgspec.Struct, frozen=True):
    """A cluster's address as Ray has it, and where its controller listens; or why it cannot be used."""

    address: str = ""
    controller: Endpoint | None = None
    error: dict[str, Any] | None = None


def attach(target: Target, seconds: float) -> Attached:
    """Connect this process to a cluster, and return its address and its controller's endpoint.

    Args:
        target: a Ray head, as host:port.
        seconds: how long Ray may take to respond.

    Raises:
        CannotConnect: nothing listens at the address, or Ray refuses or does not respond in time.
    """
    use_token()
    ray = import_ray()
    probe(target, seconds)
    _init(target, seconds)
    return Attached(plain(ray.get_runtime_context().gcs_address), controller(CONTROLLER_SECONDS))


def controller(seconds: float) -> Endpoint:
    """Return where the controller of the connected cluster listens, started where there is none.

    Raises:
        CannotConnect: Ray does not start its process in time.
    """
    ray = import_ray()
    actor = start_controller()
    try:
        endpoint: Endpoint = ray.get(actor.endpoint.remote(), timeout=seconds)
    except ray.exceptions.RayError as err:
        raise CannotConnect(
            _("The controller of the deployments does not start: {error}", error=str(err).splitlines()[0]),
            _("See the log of its process in the folder of Ray's session, or restart Ray."),
        ) from err
    return endpoint


def start_controller() -> Any:
    """Return the controller's actor; where there is none, Ray is starting its process."""
    ray = import_ray()
    from byzer_magic.runtime.controller import Controller

    return (
        ray.remote(Controller)
        .options(
            name=discovery.CONTROLLER,
            namespace=CONTROL_NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            num_cpus=0,
            resources={"node:__internal_head__": 0.001},  # where no other node's end ends it
            max_restarts=-1,
            max_task_retries=-1,  # only `endpoint`, which changes nothing
            max_concurrency=1000,
        )
        .remote(Secret(secrets.token_urlsafe(32)))
    )


def _init(target: Target, seconds: float) -> None:
    """Call ray.init with a timeout of our own: it may block for minutes, and cannot be interrupted."""
    ray = import_ray()
    ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def init() -> None:
        try:
            logging.getLogger("ray").setLevel(logging.ERROR)  # Ray warns outside the main thread
            ray.init(
                address=for_ray(target.address),
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
            )
        except Exception as err:  # noqa: BLE001 - raised in the waiting thread
            ended.put(err)
        else:
            ended.put(None)

    threading.Thread(target=init, name="byzer-ray-init", daemon=True).start()
    try:
        failure = ended.get(timeout=seconds)
    except queue.Empty:
        raise silent(target, seconds) from None
    if failure is not None:
        raise _refused(target.address, str(failure).strip() or type(failure).__name__) from failure


def _refused(address: str, reason: str) -> CannotConnect:
    """Return the error for a Ray that has refused the connection."""
    versions = _VERSIONS.findall(reason.partition("Version mismatch:")[2])
    if len(versions) > 1:
        (theirs, their_python), (ours, our_python) = versions[:2]
        message = _(
            "The cluster at {address} runs Ray {theirs} with Python {their_python}, "
            "this process Ray {ours} with Python {our_python}.",
            address=address,
            theirs=theirs,
            their_python=their_python,
            ours=ours,
            our_python=our_python,
        )
        if their_python != our_python:
            hint = _(
                "Use an environment with Python {python} and ray=={ray}, as the cluster has.",
                python=their_python,
                ray=theirs,
            )
        else:
            hint = _("Install the cluster's version here: pip install 'ray=={ray}'", ray=theirs)
        return CannotConnect(message, hint)
    return foreign(address) or CannotConnect(
        _("Ray at {address} refused the connection: {error}", address=address, error=reason.splitlines()[0]),
        _("A cluster with token authentication needs RAY_AUTH_MODE=token and its token file."),
    )


if __name__ == "__main__":
    main()
