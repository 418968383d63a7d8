"""The results of a grid: every combination of a prompt's variables, models and options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from byzer_magic.results.comparison import need_pandas
from byzer_magic.results.ranking import Ranking
from byzer_magic.results.results import ChatResult, Result

COLUMNS = (
    "model", "temperature", "sample", "text", "cost", "currency", "ttft", "total", "prompt_tokens", "tokens", "error",
    "from_journal",
)  # fmt: skip
"""Columns of the frame, which no variable can be named after."""


@dataclass(frozen=True, slots=True)
class Combination:
    """What one row of the grid is asked with."""

    variables: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    """The options that have several values."""
    sample: int = 0

    def matches(self, wanted: Mapping[str, Any]) -> bool:
        """Return whether these variables and options have these values."""
        known = {**self.variables, **self.options, "sample": self.sample}
        return all(name in known and known[name] == value for name, value in wanted.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The comparison of two results, shown to the judge twice, in both orders."""

    by: str
    """In what the two differ: `model`, or `options`."""
    row: int
    """The place of the first in the grid."""
    other: int
    first: str
    second: str
    score: float | None
    """1 where the first is better in both orders, 0 where the second is, between these otherwise; None: unreadable."""
    texts: tuple[str, str]
    """What the judge has written."""


class Grid(list[Result]):
    """The results of a grid, row by row, in each the models in their order.

    A result that failed has what had arrived, and its `error`.

    Example:
        >>> found = Grid([ChatResult(model="a", text="Paris")], [Combination({"country": "France"})])
        >>> [result.text for result in found.where(country="France")]
        ['Paris']
    """

    def __init__(
        self, found: Iterable[Result] = (), combinations: Iterable[Combination] = (), temperature: float | None = None
    ) -> None:
        super().__init__(found)
        self.temperature = temperature
        """That of all, where it does not vary."""
        self.combinations = list(combinations)
        """What each result was asked with."""
        self.rankings: list[Ranking] = []
        """Those of `--judge`: of the models, and of the options that have several values."""
        self.judgements: list[Judgement] = []

    def where(self, **wanted: Any) -> list[Result]:
        """Return the results with these values of variables, options, `model` or `sample`."""
        model = wanted.pop("model", None)
        return [
            result
            for result, asked in zip(self, self.combinations, strict=True)
            if asked.matches(wanted) and model in (None, result.model)
        ]

    def frame(self) -> Any:
        """Return a pandas DataFrame with a row per result; its `attrs` have the rankings.

        Raises:
            CommandError: pandas is not installed.
        """
        need_pandas()
        import pandas as pd

        found = pd.DataFrame([self._row(result, asked) for result, asked in zip(self, self.combinations, strict=True)])
        found.attrs["rankings"] = {item.by: item.rows() for item in self.rankings}
        return found

    def _row(self, result: Result, asked: Combination) -> dict[str, Any]:
        options = {"temperature": self.temperature, **asked.options}
        usage = result.usage
        return {
            **asked.variables,
            "model": result.model,
            **options,
            "sample": asked.sample,
            "text": result.text if isinstance(result, ChatResult) else str(result),
            "cost": result.cost,
            "currency": result.currency or None,
            "ttft": result.timings.first_token,
            "total": result.timings.total,
            "prompt_tokens": usage.prompt_tokens if usage else None,
            "tokens": usage.completion_tokens if usage else None,
            "error": result.error.localized() if result.error else None,
            "from_journal": result.journal is not None,
        }
