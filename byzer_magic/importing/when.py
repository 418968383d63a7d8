"""What belongs to a package is done when that is imported, and never before: some take half a second."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class WhenImported(MetaPathFinder):
    """Calls a function with a module once that is loaded.

    Python has no such event, so that a finder of modules waits for the import. The finder finds nothing itself: it lets
    the others find the module, and calls the function after it was loaded.

    Args:
        name: the module's name.
        call: receives the module.

    Example:
        >>> from byzer_magic.importing.when import WhenImported
        >>> WhenImported("tabnanny", lambda module: print(module.__name__, "is loaded")).start()
        >>> import tabnanny
        tabnanny is loaded
    """

    def __init__(self, name: str, call: Callable[[ModuleType], object]) -> None:
        self._name = name
        self._call = call
        self._inside = threading.local()

    def start(self) -> None:
        """Call the function, now or when the module is imported; while it waits, a second call does nothing."""
        module = sys.modules.get(self._name)
        if module is not None and not getattr(module.__spec__, "_initializing", False):
            self._call(module)
        elif self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """No longer wait."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def loaded(self, module: ModuleType) -> None:
        """Call the function, and no longer wait."""
        self.stop()
        self._call(module)

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of the module as the other finders do, with a loader that calls the function."""
        if fullname != self._name or hasattr(self._inside, "now"):
            return None
        self._inside.now = True
        try:
            spec = find_spec(fullname)  # by the others
        finally:
            del self._inside.now
        if spec is not None and spec.loader is not None:
            spec.loader = _Then(spec.loader, self.loaded)
        return spec


class _Then(Loader):
    """Loads a module as its own loader does, then calls a function with it."""

    def __init__(self, loader: Any, call: Callable[[ModuleType], object]) -> None:
        self._loader = loader
        self._call = call

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        found: ModuleType | None = self._loader.create_module(spec)
        return found

    def exec_module(self, module: ModuleType) -> None:
        """Load the module."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        package, _, last = module.__name__.rpartition(".")
        if package:  # as Python does in a moment: the function may look for the module there
            setattr(sys.modules[package], last, module)
        self._call(module)
