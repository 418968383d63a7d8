"""What several models answered to one prompt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from byzer_magic.errors import CommandError
from byzer_magic.results import ChatResult, Result


class Answers(list[Result]):
    """The results in the order of the aliases.

    Of a model that failed it has what had arrived, and its `error` says why; of the others `error` is None.
    """

    def __init__(self, found: Iterable[Result] = ()) -> None:
        super().__init__(found)
        self.judgement: ChatResult | None = None
        """What `--judge` said of them."""
        self.letters: dict[str, str] = {}
        """Under which letter the judge saw each model."""

    def frame(self) -> Any:
        """Return a pandas DataFrame with a row per model.

        Raises:
            CommandError: pandas is not installed.
        """
        need_pandas()
        import pandas as pd

        return pd.DataFrame([_row(result) for result in self])


def _row(result: Result) -> dict[str, Any]:
    return {
        "model": result.model,
        "text": result.text if isinstance(result, ChatResult) else str(result),
        "first_token": result.timings.first_token,
        "total": result.timings.total,
        "tokens": result.usage.completion_tokens if result.usage else None,
        "tokens_per_second": result.tokens_per_second if isinstance(result, ChatResult) else None,
        "cost": result.cost,
        "currency": result.currency or None,
        "error": str(result.error) if result.error else None,
    }


def need_pandas() -> None:
    """Raise CommandError where there is no pandas."""
    from importlib.util import find_spec

    if find_spec("pandas") is None:
        raise CommandError("--df needs pandas.", "Run: pip install 'byzer-magic[pandas]'")
