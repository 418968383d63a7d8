"""What models cost."""

from __future__ import annotations

import re

import pytest

from byzer_magic import prices
from byzer_magic.types import Usage


def test_every_row_says_where_and_when() -> None:
    for row in prices.load():
        assert row.source.startswith("https://")
        assert re.fullmatch(r"\d{4}-\d\d(-\d\d)?", row.checked)
        assert row.currency in ("USD", "CNY")
        assert row.match == row.match.lower()


def test_the_cost_of_an_answer() -> None:
    price = prices.find("saas/openai", "gpt-4o")
    assert price
    assert price.of(Usage(1_000_000, 100_000)) == pytest.approx(price.input + price.output / 10)


@pytest.mark.parametrize(("kind", "model"), [("saas/openai", "something-new"), ("custom/auto", "gpt-4o")])
def test_a_model_without_a_known_price_has_none(kind: str, model: str) -> None:
    assert prices.find(kind, model) is None


@pytest.mark.parametrize(
    ("cost", "currency", "text"),
    [
        (None, "", ""),
        (0.0, "USD", "$0.00"),
        (0.00001, "USD", "<$0.0001"),
        (0.0021, "USD", "$0.0021"),
        (12.5, "CNY", "¥12.50"),
    ],
)
def test_amounts_as_people_read_them(cost: float | None, currency: str, text: str) -> None:
    assert prices.shown(cost, currency) == text
