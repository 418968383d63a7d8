"""`df.byzer.map(...)`: registered with pandas when that is imported; pandas has entry points for plotting only."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from byzer_magic.importing.when import WhenImported

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


_WAITING = WhenImported(PANDAS, register)


def install() -> None:
    """Register the accessor, now or when pandas is imported; a second call does nothing."""
    _WAITING.start()


def uninstall() -> None:
    """No longer wait for pandas; an accessor that is registered stays."""
    _WAITING.stop()
