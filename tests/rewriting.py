"""The workers of a run share the rewriting of assertions.

In a new clone each would rewrite all files, at the same moments as the others: 7 s of CPU time each. pytest has no
public function for it; `tests/constraints.txt` has the version that this fits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.assertion import rewrite

OTHERS = ("node_modules", "__pycache__")
"""Folders without tests of ours."""


def share(config: pytest.Config) -> None:
    """Rewrite this worker's part of the files that have not been rewritten yet; the others do the rest meanwhile."""
    worker = getattr(config, "workerinput", None)
    if worker is None:
        return
    number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    for file in sorted(_files(config))[number::count]:
        folder = rewrite.get_cache_dir(file)
        kept = folder / f"{file.stem}{rewrite.PYC_TAIL}"
        if not kept.exists() and rewrite.try_makedirs(folder):
            source, code = rewrite._rewrite_test(file, config)
            rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, source, kept)


def _files(config: pytest.Config) -> Iterator[Path]:
    """Yield the files of tests in the folders that the run has been given."""
    for argument in config.args:
        for folder, folders, names in os.walk(config.rootpath / argument.partition("::")[0]):
            folders[:] = [name for name in folders if name not in OTHERS]
            yield from (Path(folder, name) for name in names if name.startswith("test_") and name.endswith(".py"))
