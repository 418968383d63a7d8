"""Importing a module without those that it imports and hardly ever uses."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """Stands in for a module in those that import it meanwhile; it is imported when they use one of its names."""

    def __getattr__(self, name: str) -> Any:
        self.leave()
        return getattr(importlib.import_module(self.__name__), name)

    def leave(self) -> None:
        """Let the next `import` of this name find the module."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """Let modules that are imported in the block import others only when they use them.

    Args:
        names: of the others; those that are loaded already are used as they are.

    Example:
        >>> import sys
        >>> from byzer_magic.importing.later import without
        >>> with without("pyclbr"):
        ...     import pyclbr
        >>> "pyclbr" in sys.modules
        False
    """
    later = [_Later(name) for name in names if name not in sys.modules and importlib.util.find_spec(name)]
    sys.modules.update({module.__name__: module for module in later})
    try:
        yield
    finally:
        for module in later:
            module.leave()
