"""Makes all models of the tests and prints how long each took: `python -m tests.models`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import time
from pathlib import Path

import tests.models as folder


def main() -> None:
    """Call every function of the modules here that returns a model and needs nothing."""
    for item in sorted(pkgutil.iter_modules(folder.__path__), key=lambda item: item.name):
        if item.name.startswith("_"):
            continue
        module = importlib.import_module(f"tests.models.{item.name}")
        for name, make in inspect.getmembers(module, inspect.isfunction):
            own = make.__module__ == module.__name__ and not name.startswith("_")
            if own and inspect.signature(make).return_annotation == "Path" and not inspect.signature(make).parameters:
                started = time.monotonic()
                path: Path = make()
                print(f"{time.monotonic() - started:6.1f} s  {item.name}.{name}: {path}", flush=True)


if __name__ == "__main__":
    main()
