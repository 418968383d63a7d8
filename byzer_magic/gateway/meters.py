"""Counting the tokens of requests against the limits of their keys."""

from __future__ import annotations

import time

from byzer_magic.gateway.access import Client
from byzer_magic.routing.rates import Taken
from byzer_magic.routing.tokens import TokenCount, answer_tokens
from byzer_magic.types import Request, Usage


class Meter(TokenCount):
    """Counts the tokens of one request to a deployment, and against whose limits they count.

    Args:
        client: whose limits they count against.
        request: what is asked.
        answers: how many the call asks for; 0 where it was let in, for its further requests are, too.

    Raises:
        Problem: a limit is reached.

    Example:
        >>> from byzer_magic.types import ChatRequest
        >>> Meter(Client("a"), ChatRequest(messages=[])).tokens
        0
    """

    def __init__(self, client: Client, request: Request, *, answers: int = 1) -> None:
        super().__init__(request)
        self._client = client
        self._reserved: Taken | None = None
        if client.tokens.limit:
            self._reserved = client.reserve(self.prompt, answer_tokens(request), time.monotonic(), answers=answers)

    def settle(self) -> None:
        """Count the tokens in place of what was reserved for them; the request has ended."""
        self._client.settle(self._reserved, self.tokens)


def missing(usage: Usage | None) -> dict[str, int]:
    """Return the field beside the token counts of a chat whose prompt was truncated: about how many tokens it has.

    Example:
        >>> from byzer_magic.types import PromptTruncation
        >>> missing(Usage(2_050, 10, truncated=PromptTruncation(2_050, 7_900))), missing(Usage(7_900, 10))
        ({'prompt_truncated_from': 7900}, {})
    """
    return {"prompt_truncated_from": usage.truncated.total} if usage and usage.truncated else {}


def total(counts: list[Usage | None]) -> Usage | None:
    """Return the sum of token counts; None where none is known.

    Example:
        >>> total([Usage(1, 2), None, Usage(3, 4)]).total_tokens
        10
        >>> total([None]) is None
        True
    """
    known = [usage for usage in counts if usage is not None]
    return sum(known[1:], known[0]) if known else None
