"""Real models for the tests, small ones: found in packages, converted, or trained on the spot; made once and kept.

Each module here makes one model; `cached` keeps what it made under ~/.cache (or in the folder BYZER_TEST_MODELS)
until the module changes.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
import time
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

HOME = Path(os.environ.get("BYZER_TEST_MODELS") or "~/.cache/byzer-magic/test-models").expanduser()


def packaged(name: str, path: str) -> Path:
    """Return a file of an installed package."""
    return Path(str(distribution(name).locate_file(path)))


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder that `make` fills, made now or earlier."""
    source = inspect.getsourcefile(make)
    assert source
    folder = HOME / f"{name}-{hashlib.sha256(Path(source).read_bytes()).hexdigest()[:10]}"
    if not folder.is_dir():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
        unfinished.mkdir(parents=True)
        started = time.monotonic()
        try:
            make(unfinished)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        print(f"made the model {name} in {time.monotonic() - started:.0f} s")
    return folder
