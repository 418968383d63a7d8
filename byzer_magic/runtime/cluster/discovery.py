"""Service discovery by files on this machine, without Ray, whose import alone takes a second.

A pool writes its endpoint into a file that only its user can read, so that a shell command or a new notebook on the
same machine connects in milliseconds. A client that finds no file, or no listener at its endpoint, asks Ray.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
from pathlib import Path
from urllib.parse import quote

import msgspec

from byzer_magic.errors import CannotConnect
from byzer_magic.files.private import read_own, replace_own, write_own
from byzer_magic.runtime.cluster.address import LOCAL, from_environment
from byzer_magic.runtime.cluster.listeners import is_up
from byzer_magic.runtime.cluster.loopback import plain
from byzer_magic.runtime.cluster.own_folder import find, own_folder
from byzer_magic.runtime.cluster.this_machine import running_cluster
from byzer_magic.runtime.transport.protocol import Endpoint
from byzer_magic.safety import peers

CONTROLLER = "controller"
"""Name of the controller's actor, and of the file that announces it.

The file has no suffix, unlike those of aliases, which may be called so.
"""
LONGEST_NAME = 150
"""Characters of a quoted alias in a file's name; a longer one is truncated and hashed. File systems allow 255 bytes."""


def socket_folder(cluster: str) -> Path:
    """Return the folder of sockets of a cluster's processes on this machine, and of the files that announce them.

    Args:
        cluster: the address of the cluster.

    Raises:
        CannotConnect: it cannot be made.
    """
    folder = own_folder() / "clusters" / _name(cluster)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def announce(folder: Path, alias: str, endpoint: Endpoint) -> None:
    """Write the endpoint of an alias, with its token, to a file in `folder` that only this user can read."""
    replace_own(_file(folder, alias), msgspec.json.encode({**msgspec.to_builtins(endpoint), "alias": alias}))


def withdraw(folder: Path, alias: str) -> None:
    """Remove the file of an alias."""
    _file(folder, alias).unlink(missing_ok=True)


def announce_controller(folder: Path, endpoint: Endpoint) -> None:
    """Write the endpoint of a cluster's controller, with its token, to a file in `folder` that only this user reads."""
    replace_own(folder / CONTROLLER, msgspec.json.encode(endpoint))


def controller(cluster: str) -> Endpoint | None:
    """Return the endpoint of a cluster's controller if it is known on this machine and listens, else None.

    Args:
        cluster: the cluster's address, as the one who announced it has typed it.
    """
    clusters = _clusters()
    found = _listening(clusters / _name(cluster) / CONTROLLER) if clusters else None
    if found is not None:  # its own file has the token; that of another name of the cluster may have an earlier one
        found = _listening(Path(found.path).parent / CONTROLLER) or found
    return found if found is not None and is_up(cluster) else None


def announced(alias: str, cluster: str = "") -> Endpoint | None:
    """Return the endpoint of an alias if its pool listens on this machine, else None.

    Args:
        alias: the deployment.
        cluster: the address of its cluster; by default the one that `auto` means.
    """
    clusters, cluster = _clusters(), cluster or usual_cluster() or ""
    if clusters is None or not cluster:
        return None
    endpoint = _listening(_file(clusters / _name(cluster), alias))
    return endpoint if endpoint is not None and is_up(cluster) else None


def aliases() -> list[str] | None:
    """Return the aliases of pools announced on this machine, or None when no Ray runs for them."""
    clusters, cluster = _clusters(), usual_cluster()
    if cluster is None or not is_up(cluster):
        return None
    found = map(_listening, (clusters / _name(cluster)).glob("*.json") if clusters else ())
    return sorted(endpoint.alias for endpoint in found if endpoint is not None)


def remove_dead() -> None:
    """Remove what killed pools have left: the folders of clusters in which no process listens any more."""
    clusters = _clusters()
    for folder in clusters.iterdir() if clusters is not None and clusters.is_dir() else ():
        if not any(map(_accepts, folder.glob("*.sock"))):
            shutil.rmtree(folder, ignore_errors=True)


def usual_cluster() -> str | None:
    """Return the address of the cluster that `auto` means; where RAY_ADDRESS names it, whether it runs or not."""
    target = from_environment()
    return running_cluster(only_local=target.address == LOCAL) if target.is_here else plain(target.address)


def _clusters() -> Path | None:
    """Return the folder with a folder for each cluster, which need not exist; None where this user has none."""
    mine = find()
    return mine / "clusters" if mine else None


def _listening(file: Path) -> _Announced | None:
    """Return the endpoint in a file if its pool listens on this machine, else None."""
    content = read_own(file)
    if content is None:
        return None
    try:
        endpoint = msgspec.json.decode(content, type=_Announced)
    except msgspec.DecodeError:
        return None
    elsewhere = endpoint.port and is_up(f"{endpoint.host}:{endpoint.port}")
    return endpoint if _accepts(endpoint.path) or elsewhere else None


def _accepts(path: Path | str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
            return peers.stranger(probe, os.geteuid()) is None
        except (OSError, ValueError):  # no listener; not a path
            return False


class _Announced(Endpoint, frozen=True):
    """An endpoint with its alias."""

    alias: str = ""


def keep_log(alias: str, lines: list[str]) -> None:
    """Store the log of a failed deploy, whose processes no longer exist; `logs` shows it.

    Args:
        alias: the deployment's alias.
        lines: the workers' last lines.
    """
    with contextlib.suppress(OSError, CannotConnect):  # the error of the deploy matters more than its log
        file = _log_file(own_folder(), alias)
        file.parent.mkdir(exist_ok=True)
        with write_own(file) as output:
            output.write("\n".join(lines).encode(errors="replace"))


def kept_log(alias: str) -> list[str]:
    """Return the stored log of the last deploy of an alias, if that failed; else nothing."""
    folder = find()
    content = read_own(_log_file(folder, alias)) if folder else None
    return content.decode(errors="replace").splitlines() if content else []


def forget_log(alias: str) -> None:
    """Remove the stored log of an alias."""
    if folder := find():
        with contextlib.suppress(OSError):
            _log_file(folder, alias).unlink(missing_ok=True)


def _log_file(folder: Path, alias: str) -> Path:
    return folder / "failed" / f"{_name(alias)}.log"


def _file(folder: Path, alias: str) -> Path:
    return folder / f"{_name(alias)}.json"


def _name(alias: str) -> str:
    """Return an alias as a file name; quoting makes a Chinese character nine times as long."""
    quoted = quote(alias, safe="")
    if len(quoted) <= LONGEST_NAME:
        return quoted
    return f"{quoted[:LONGEST_NAME]}-{hashlib.sha256(alias.encode()).hexdigest()[:16]}"
