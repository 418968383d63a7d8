"""The `budget` of a run: rows are begun while what they may cost is left, those in flight counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from byzer_magic.catalog.prices import Price
from byzer_magic.data.rows import Row
from byzer_magic.data.sums import Sums
from byzer_magic.routing.budget import Budget
from byzer_magic.routing.tokens import TokenCount, answer_tokens
from byzer_magic.types import Request, Usage

Expected = tuple[float, float]
"""What the prompt and the answer of a request may cost."""


class RunBudget:
    """What one run may spend; the purse of a project is another thing (`journal.purse`).

    Args:
        limit: what may be spent, in the currency of the price.
        price: the price of the model.
        sums: what has been spent so far, and what a response has cost at most.
        requests: returns the requests for rows, as far as they can be made and have to be paid for.
    """

    def __init__(
        self, limit: float, price: Price, sums: Sums, requests: Callable[[Sequence[Row]], list[Request]]
    ) -> None:
        self._budget = Budget(limit)
        self._price = price
        self._sums = sums
        self._requests = requests
        self._counted = 0.0
        self.running = 0
        """Requests in flight."""

    def expected(self, rows: Sequence[Row]) -> Expected:
        """Return what rows may cost: as their prompts are long, and their answers as those so far or as they may be."""
        prompt = answer = 0.0
        if not (requests := self._requests(rows)):
            return 0.0, 0.0
        for request in requests:
            prompt += self._price.at_any_length(Usage(math.ceil(TokenCount(request).prompt)))
            answer += self._price.at_any_length(Usage(0, math.ceil(answer_tokens(request))))
        mean = self._sums.mean_cost
        if mean is None:
            return prompt, answer
        return max(prompt, mean), max(0.0, self._sums.largest - mean)

    def must_wait(self, expected: Expected) -> bool:
        """Return whether rows must wait until others have ended; with none in flight: whether there is too little."""
        return any(expected) and self._budget.must_wait(*expected, now=0.0)

    def reserve(self, expected: Expected) -> float:
        """Reserve what rows may cost; return it for `settle`."""
        self.running += 1
        self._budget.reserve(sum(expected))
        return sum(expected)

    def settle(self, reserved: float) -> None:
        """Count what has been spent in place of what was reserved."""
        self.running -= 1
        spent, self._counted = self._sums.cost - self._counted, self._sums.cost
        self._budget.settle(reserved, spent, now=0.0)
