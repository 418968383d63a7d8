"""`df.byzer.map(...)`: registered with pandas when that is imported, and never before: it takes half a second.

pandas has entry points for plotting backends only, so that a finder of modules waits for its import. The finder finds
nothing itself: it lets the others find pandas, and adds what is to be done after it was loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

NAME = "byzer"
PANDAS = "pandas"


class Accessor:
    """The models of byzer-magic, over the rows of this frame."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def map(self, model: Any, prompt: str = "", **arguments: Any) -> Any:
        """Ask a model about each row; see `Model.map`.

        Args:
            model: an alias, or a `Model`.
            prompt: the text for a row, with the names of columns in braces.
            arguments: as of `Model.map`.

        Raises:
            NotDeployed: nothing is deployed as the alias.
            CommandError: the prompt names no column, or the arguments do not fit the model.

        Example:
            >>> import pandas
            >>> from byzer_magic.data import accessor
            >>> accessor.install()
            >>> frame = pandas.DataFrame({"text": ["good", "bad"]})
            >>> list(frame.byzer.map("gpt4o_chat", "Classify: {text}", out="label").columns)
            ['text', 'label', 'label_error']
        """
        from byzer_magic.client import current

        found = current.model(model) if isinstance(model, str) else model
        return found.map(self._frame, prompt, **arguments)

    def search(self, query: Any, k: int = 5, **arguments: Any) -> Any:
        """Return the rows that are nearest to a query; see `byzer_magic.search`.

        Args:
            query: a text, or an embedding.
            k: how many rows at most.
            arguments: as of `byzer_magic.search`.

        Example:
            >>> import pandas
            >>> from byzer_magic.data import accessor
            >>> accessor.install()
            >>> texts = pandas.DataFrame({"text": ["the sky is blue"]}).byzer.map("bge", "{text}")
            >>> len(texts.byzer.search("sky"))
            1
        """
        from byzer_magic.data.search import search

        return search(self._frame, query, k, **arguments)


def register(pandas: ModuleType) -> None:
    """Add the accessor to pandas' frames and series, where there is none of that name."""
    for kind in ("DataFrame", "Series"):
        if not hasattr(getattr(pandas, kind), NAME):
            getattr(pandas.api.extensions, f"register_{kind.lower()}_accessor")(NAME)(Accessor)


class _After(Loader):
    """Loads a module as its own loader does, and registers the accessor then."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        found: ModuleType | None = self._loader.create_module(spec)
        return found

    def exec_module(self, module: ModuleType) -> None:
        """Load the module."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        uninstall()
        register(module)


class Finder(MetaPathFinder):
    """Waits for the import of pandas."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of pandas as the other finders do, with a loader that registers the accessor."""
        if fullname != PANDAS or _FINDER not in sys.meta_path:
            return None
        sys.meta_path.remove(_FINDER)
        try:
            spec = find_spec(fullname)  # by the others
        finally:
            sys.meta_path.insert(0, _FINDER)  # who looks for pandas need not import it
        if spec is not None and spec.loader is not None:
            spec.loader = _After(spec.loader)
        return spec


_FINDER = Finder()


def install() -> None:
    """Register the accessor, now or when pandas is imported; a second call does nothing."""
    if (pandas := sys.modules.get(PANDAS)) is not None and hasattr(pandas, "api"):
        register(pandas)
    elif _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def uninstall() -> None:
    """No longer wait for pandas; an accessor that is registered stays."""
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)
