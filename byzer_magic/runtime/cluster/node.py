"""What processes of a deployment need of their node: Ray's session folder, sockets, logs."""

from __future__ import annotations

import logging
from pathlib import Path

import psutil
import ray

from byzer_magic import request_ids
from byzer_magic.log import ROOT, RedactingFilter
from byzer_magic.runtime.cluster import discovery
from byzer_magic.runtime.cluster.loopback import plain

BLOCK_BYTES = 64 * 1024
"""How much of a log is read first, from its end."""
TAIL_BYTES = 16 * 1024 * 1024
"""How much of a log is read at most, however many lines are wanted."""
LINE_CHARS = 16 * 1024
"""Longest line that is shown."""


def attach_log(hidden: tuple[str, ...]) -> None:
    """Send the package's log to stderr, which Ray keeps in a file.

    Args:
        hidden: secrets to replace in every line.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(request_ids.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    handler.addFilter(RedactingFilter(hidden))
    logging.getLogger(ROOT).addHandler(handler)
    logging.getLogger(ROOT).setLevel(logging.INFO)


def hide_more(hidden: tuple[str, ...]) -> None:
    """Replace these secrets, too, in every line of the package's log from now on."""
    for handler in logging.getLogger(ROOT).handlers:
        handler.addFilter(RedactingFilter(hidden))


def session_folder() -> Path:
    """Return the folder of this node's Ray session."""
    return Path(ray._private.worker._global_node.get_session_dir_path())


def socket_folder() -> Path:
    """Return the folder of the sockets of this node's processes and of the files that announce them."""
    return discovery.socket_folder(plain(ray.get_runtime_context().gcs_address))


def has_others() -> bool:
    """Return whether the cluster has, or had, more nodes than this one."""
    return len(ray.nodes()) > 1


def tail(pid: int, lines: int) -> list[str]:
    """Return the last `lines` lines that a Ray worker process wrote to stdout, and as many of stderr.

    The files are read from their end, and at most `TAIL_BYTES` of each.
    """
    found: list[str] = []
    for path in sorted((session_folder() / "logs").glob(f"worker-*-{pid}.*")):
        try:
            text = _last_lines(path, lines)
        except OSError:  # Ray has rotated it
            continue
        found += text
    return found


def _last_lines(path: Path, lines: int) -> list[str]:
    """Return the last lines of a file without Ray's own markers, which start with a colon."""
    size, read = path.stat().st_size, BLOCK_BYTES
    while True:
        with path.open("rb") as file:
            file.seek(max(0, size - read))
            whole = file.read(min(read, size)).decode("utf-8", "replace").splitlines()
        is_all = read >= min(size, TAIL_BYTES)
        if read < size and len(whole) > 1:
            whole = whole[1:]  # its beginning is missing
        kept = [line[:LINE_CHARS] for line in whole if not line.startswith(":")]
        if is_all or len(kept) >= lines:
            return kept[-lines:]
        read *= 4


def descendants(pid: int) -> list[int]:
    """Return the id of a process on this node and those of all its descendants."""
    try:
        top = psutil.Process(pid)
        return [pid, *(child.pid for child in top.children(recursive=True))]
    except psutil.Error:
        return []
