"""Amounts as people read them."""

from __future__ import annotations

import pytest

from byzer_magic.rendering import amounts


@pytest.mark.parametrize(
    ("cost", "currency", "shown"),
    [(None, "USD", ""), (1.0, "", ""), (0.0, "USD", "$0"), (0.00003, "USD", "<$0.0001"),
     (0.00421, "USD", "$0.0042"), (12.345, "CNY", "¥12.35"),
     (1234.5, "EUR", "€1,234"), (2.0, "CHF", "CHF 2.00")],
)  # fmt: skip
def test_money_has_the_sign_and_the_digits_that_count(cost: float | None, currency: str, shown: str) -> None:
    assert amounts.money(cost, currency) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, ""), (0.214, "0.21 s"), (42.4, "42 s"), (600, "10 min"), (7200, "2 h")]
)
def test_duration_has_a_readable_unit(seconds: float | None, shown: str) -> None:
    assert amounts.duration(seconds) == shown
