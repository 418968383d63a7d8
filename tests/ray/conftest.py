"""A Ray of a test's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import Shell
from tests.waiting import eventually


@pytest.fixture
def apart(shell: Shell, ray_folder: Path) -> Iterator[Shell]:
    """A shell with a Ray of its own, of which nothing is left in the end."""
    shell.env |= {
        "RAY_TMPDIR": str(ray_folder), "BYZER_CONFIG": f"{ray_folder}/config.toml", "BYZER_LOCAL_CPUS": "2",
        "BYZER_SPARE": "0",  # it takes a second of CPU to start, and each of these Rays would have one
    }  # fmt: skip
    yield shell
    shell.env["PYTHONPATH"] = str(Path(__file__).parents[2])
    shell("shutdown")
    assert eventually(lambda: not processes(ray_folder)), processes(ray_folder)


def processes(folder: Path, name: str = "") -> list[psutil.Process]:
    """Return the processes that a Ray in a folder consists of; with a name, those of that executable."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if name and process.name() != name:  # cheaper than its command line
                continue
            if any(str(folder) in word for word in process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
