"""The results of several models for one prompt."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.results.results import ChatResult, Result


class Answers(list[Result]):
    """The results in the order of the aliases.

    The result of a model that failed has what had arrived, and its `error`; that of the others has no error.

    Example:
        >>> answers = Answers([ChatResult(model="a", text="yes"), ChatResult(model="b", text="no")])
        >>> [str(result) for result in answers]
        ['yes', 'no']
    """

    def __init__(self, found: Iterable[Result] = ()) -> None:
        super().__init__(found)
        self.judgement: ChatResult | None = None
        """The comparison by the model of `--judge`."""
        self.letters: dict[str, str] = {}
        """The letter that each model had in it."""

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
        "error": result.error.localized() if result.error else None,
    }


def need_pandas() -> None:
    """Raise CommandError where pandas is not installed."""
    if find_spec("pandas") is None:
        raise CommandError(_("--df needs pandas."), _("Run: pip install 'byzer-magic[pandas]'"))
