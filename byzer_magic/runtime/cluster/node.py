"""This process's place on its node: Ray's session folder, sockets, logs."""

from __future__ import annotations

import gc
import logging
from pathlib import Path

import psutil
import ray

from byzer_magic.log import ROOT, RedactingFilter


def attach_log(hidden: tuple[str, ...]) -> None:
    """Send the package's log lines of this process to its stderr, which Ray keeps in a file, without secrets."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    handler.addFilter(RedactingFilter(hidden))
    logging.getLogger(ROOT).addHandler(handler)
    logging.getLogger(ROOT).setLevel(logging.INFO)


def calm_garbage_collector() -> None:
    """Take what has been loaded so far out of garbage collection, and collect what comes less often.

    An SDK leaves very many objects that never go away; looking through them again and again costs a pool under load
    a good part of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def session_folder() -> Path:
    """Return the folder of this node's Ray session."""
    return Path(ray._private.worker._global_node.get_session_dir_path())


def socket_folder() -> Path:
    """Return where this node's sockets are, and the files that say who listens on them."""
    return session_folder() / "byzer"


def tail(pid: int, lines: int) -> list[str]:
    """Return the last lines that a Ray worker process wrote to stdout, and the last to stderr."""
    found: list[str] = []
    for path in sorted((session_folder() / "logs").glob(f"worker-*-{pid}.*")):
        try:
            text = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:  # Ray has moved it away
            continue
        found += [line for line in text if not line.startswith(":")][-lines:]  # those are Ray's own markers
    return found


def family(pid: int) -> list[int]:
    """Return a process and all that it has started, as far as they run on this node."""
    try:
        top = psutil.Process(pid)
        return [pid, *(child.pid for child in top.children(recursive=True))]
    except psutil.Error:
        return []
