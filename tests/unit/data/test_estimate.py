"""What a run would take."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest

from byzer_magic.capabilities import Capability
from byzer_magic.catalog import prices
from byzer_magic.data.asking import Chat, Question
from byzer_magic.data.estimate import estimated
from byzer_magic.data.rows import Rows
from byzer_magic.data.template import Template
from byzer_magic.types import Request
from tests.answering import Answering


def asker(options: dict[str, int]) -> Chat:
    question = Question(capability=Capability.CHAT, template=Template("{text}", ["text"]), options=options)
    return Chat(Answering("never asked"), "m", question, lambda _result: None)


def test_estimate_counts_what_is_known_equal_and_missing() -> None:
    frame = pd.DataFrame({"text": ["known", "a" * 400, "a" * 400, None, "b" * 400]})

    def known(requests: Sequence[Request]) -> list[bool]:
        return ["known" in str(request) for request in requests]

    price = prices.find("saas/openai", "gpt-4o")
    found = estimated(Rows(frame, ["text"]), asker({"max_tokens": 10}), price, known, once=True)
    assert (found.rows, found.known, found.equal, found.not_askable, found.to_ask) == (5, 1, 1, 1, 2)
    assert (found.prompt_tokens, found.answer_tokens) == (pytest.approx(200, abs=8), 20)
    assert found.cost == pytest.approx(200 * 2.5e-6 + 20 * 10e-6, rel=0.1)
    assert str(found).startswith(
        "5 rows: 1 in the journal, 1 equal to others, 1 with a missing cell, 2 to ask\nabout 2"
    )


def test_estimate_without_a_journal_and_without_a_price() -> None:
    frame = pd.DataFrame({"text": ["a", "a"]})
    found = estimated(Rows(frame, ["text"]), asker({}), None, lambda requests: [False] * len(requests), once=False)
    assert (found.to_ask, found.answer_tokens, found.cost) == (2, 1000, None)
    assert repr(found).endswith("price unknown")
