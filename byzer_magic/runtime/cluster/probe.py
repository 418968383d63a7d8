"""Two questions to a Ray head before connecting.

Of a wrong port, `ray.init` itself says only lines of its own; sockets of another user even end the process.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from byzer_magic.errors import CannotConnect
from byzer_magic.i18n import join, lazy_gettext as _
from byzer_magic.log import get_logger
from byzer_magic.runtime.cluster.address import Target, way_out
from byzer_magic.runtime.cluster.listeners import owner
from byzer_magic.safety.peers import name_of

ALIVE = 0
"""A node's state, in Ray's protocol."""
OWN_HINT = _("Use a Ray of your own: --ray_address local.")

log = get_logger("probe")


def probe(target: Target, seconds: float) -> None:
    """Ask the server at host:port for the id of its cluster, and for its nodes on this machine.

    Args:
        target: the address.
        seconds: how long the answer may take.

    Raises:
        CannotConnect: the server is not a Ray head, does not accept this process's token, does not answer in time, or
            its node on this machine is another user's.
    """
    import grpc  # Ray has one only in ray[default]: a dependency of ours

    try:
        from ray._private.grpc_utils import init_grpc_channel
        from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

        with init_grpc_channel(target.address, [("grpc.enable_http_proxy", 0)]) as channel:
            stub = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
            stub.GetClusterId(gcs_service_pb2.GetClusterIdRequest(), timeout=seconds)
            nodes = stub.GetAllNodeInfo(gcs_service_pb2.GetAllNodeInfoRequest(), timeout=seconds).node_info_list
            closed = _closed([node for node in nodes if node.state == ALIVE])
    except (ImportError, AttributeError, ValueError, RuntimeError) as err:  # of another version
        log.debug("%s is not probed: %s", target.address, err)
    except grpc.RpcError as err:
        if err.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise silent(target, seconds) from None
        if failure := _failure(target, err.code(), str(err.details())):
            raise failure from None
    else:
        if closed is not None:
            raise CannotConnect(
                _(
                    "The Ray at {address} belongs to user {user}, whose processes alone can use its node on this "
                    "machine.",
                    address=target.address,
                    user=name_of(closed),
                ),
                OWN_HINT,
            )


def _closed(nodes: Sequence[Any]) -> int | None:
    """Return the user of the node that a driver on this machine would use, if its socket is closed to this process.

    Args:
        nodes: what the head says of them.
    """
    for node in sorted(nodes, key=lambda node: not node.is_head_node):  # as Ray chooses
        host = f"[{node.node_manager_address}]" if ":" in node.node_manager_address else node.node_manager_address
        uid = owner(f"{host}:{node.node_manager_port}")
        if uid is not None:  # it is on this machine
            return None if os.access(node.raylet_socket_name, os.R_OK | os.W_OK) else uid
    return None


def _failure(target: Target, code: object, details: str) -> CannotConnect | None:
    import grpc

    address = target.address
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return foreign(address) or CannotConnect(
            _("The Ray at {address} does not accept this token, or needs one.", address=address),
            _("Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a copy of ~/.ray/auth_token of that cluster."),
        )
    if "http1" in details:
        return CannotConnect(
            _(
                "What is listening at {address} is an HTTP server, such as a dashboard, not a Ray head.",
                address=address,
            ),
            way_out(target),
        )
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED):
        return CannotConnect(
            _("What is listening at {address} is not a Ray head, or uses TLS (RAY_USE_TLS=1).", address=address),
            way_out(target),
        )
    return None


def silent(target: Target, seconds: float) -> CannotConnect:
    """Return the error for a server that accepts connections and does not answer.

    Args:
        target: its address.
        seconds: how long the answer was waited for.
    """
    hint = _(
        "Check that the port is that of a Ray head of the same version. "
        "A cluster with token authentication needs RAY_AUTH_MODE=token."
    )
    if not target.source:
        message = _("Ray at {address} did not respond within {seconds:g} s.", address=target.address, seconds=seconds)
        return foreign(target.address) or CannotConnect(message, hint)
    message = _(
        "Ray at {address}, which {source} names, did not respond within {seconds:g} s.",
        address=target.address,
        source=target.source,
        seconds=seconds,
    )
    return foreign(target.address) or CannotConnect(message, join(hint, way_out(target)))


def foreign(address: str) -> CannotConnect | None:
    """Return the error for a Ray of another user of this machine, which lets only its own user in; else None."""
    uid = owner(address)
    if uid is None or uid == os.getuid():
        return None
    return CannotConnect(
        _(
            "The Ray at {address} belongs to user {user} and does not accept your connection.",
            address=address,
            user=name_of(uid),
        ),
        OWN_HINT,
    )
