"""Who may say to be a process of this cluster: the controller's authority, or the certificates that Ray itself uses.

Servers listen on TCP with a certificate for the address of their node. The authority's key is in the memory of Ray's
head, which is on the controller's own node: a controller that was restarted finds it there, and it is in no file.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import ray
from ray.experimental import internal_kv

from byzer_magic.errors import CannotConnect, ConfigError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.runtime.cluster import discovery
from byzer_magic.runtime.cluster.attach import CONTROL_NAMESPACE
from byzer_magic.runtime.transport import tls

CERTIFY_SECONDS = 60.0
"""How long the controller, which may be restarting, may take to certify a key."""
RAY_SWITCH = "RAY_USE_TLS"
RAY_FILES = ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")
_SPACE = b"byzer"
_KEY = b"authority"


def authority() -> tls.Authority:
    """Return the authority of this cluster, made where there is none yet; for the controller alone."""
    made = msgspec.json.encode(tls.new_authority())
    internal_kv._internal_kv_put(_KEY, made, overwrite=False, namespace=_SPACE)
    return msgspec.json.decode(internal_kv._internal_kv_get(_KEY, namespace=_SPACE), type=tls.Authority)


async def identity(host: str) -> tls.Identity:
    """Return what a server of this process shows to its clients.

    Args:
        host: the address at which it listens.

    Raises:
        CannotConnect: the controller does not certify it in time.
        ConfigError: Ray is to use TLS, and its files cannot be read.
    """
    if (own := of_ray()) is not None:
        return own
    pair = await asyncio.to_thread(tls.key_pair, host)
    try:
        actor = await asyncio.to_thread(ray.get_actor, discovery.CONTROLLER, CONTROL_NAMESPACE)
        certified: tls.Certified = await asyncio.wait_for(actor.certify.remote(pair.request), CERTIFY_SECONDS)
    except (ValueError, ray.exceptions.RayError, TimeoutError) as err:
        raise CannotConnect(
            _("The controller has not certified this process: {error}", error=str(err).splitlines()[0]),
            _("Deploy the model again with --replace."),
        ) from err
    return tls.Identity(certified.certificate, pair.key, certified.authority)


async def identity_of_controller(host: str) -> tls.Identity:
    """Return what the controller itself shows to its clients; see `identity`."""
    if (own := of_ray()) is not None:
        return own
    pair = tls.key_pair(host)
    certified = tls.certify(await asyncio.to_thread(authority), pair.request)
    return tls.Identity(certified.certificate, pair.key, certified.authority)


def of_ray() -> tls.Identity | None:
    """Return the certificate that Ray itself uses on this node, where its TLS is on; else None.

    Raises:
        ConfigError: its TLS is on, and a file of it is missing.
    """
    if os.environ.get(RAY_SWITCH, "0").lower() not in ("1", "true"):
        return None
    found = []
    for name in RAY_FILES:
        path = os.environ.get(name, "")
        try:
            found.append(Path(path).read_text(encoding="ascii"))
        except (OSError, ValueError) as err:
            raise ConfigError(
                _("{name} names no file that can be read: {path}.", name=name, path=repr(path)),
                _("Set it as on the other nodes of the cluster, or set {name}=0 on all.", name=RAY_SWITCH),
            ) from err
    return tls.Identity(*found)
