"""What the worker processes of the local Ray import before their first work (Ray's `preload_python_modules`).

Of these processes, the one that waits for the next deployment imports what pools need; others, such as those of other
programs' tasks, import nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from pathlib import Path

VARIABLE = "BYZER_SPARE_FILE"
"""The variable with the path of the file in which the waiting process writes its id; Ray's processes have it."""
WANTED = ".wanted"
"""Suffix of the file that asks for such a process; the first one that starts removes it."""
MODULES = ("byzer_magic.runtime.pool", "byzer_magic.backends.openai.backend", "aiohttp")
"""What pools of most APIs import: about 25 MB of memory, and half a second."""


def file() -> Path | None:
    """Return the file of the process that waits; None where Ray was not started by byzer-magic."""
    path = os.environ.get(VARIABLE)
    return Path(path) if path else None


def preload() -> None:
    """Import what pools need, in the process that is to wait for the next deployment."""
    path = file()
    if path is None:
        return
    try:
        Path(f"{path}{WANTED}").unlink()  # atomic: one process takes it
    except OSError:
        return
    with contextlib.suppress(OSError):  # a full disk
        path.write_text(str(os.getpid()))
    for module in MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)


def was_spare() -> bool:
    """Return whether this process has waited for its deployment."""
    return os.getpid() == pid()


def pid() -> int:
    """Return the id that the process which waits, or has waited last, has written; 0 where there is none."""
    path = file()
    try:
        return int(path.read_text()) if path else 0
    except (OSError, ValueError):
        return 0


preload()
