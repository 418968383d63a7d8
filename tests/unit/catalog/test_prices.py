"""What models cost."""

from __future__ import annotations

import re

import pytest

from byzer_magic.backends import registry
from byzer_magic.catalog import prices
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


@pytest.mark.parametrize(
    ("kind", "model", "address"),
    [
        ("saas/openai", "something-new", ""),
        ("custom/auto", "gpt-4o", ""),
        ("saas/openai", "gpt-4o", "https://8.8.8.8/v1"),
        ("saas/openai", "gpt-4o", "https://my-proxy.example/api.openai.com"),
        ("saas/ollama", "gpt-oss-120b", ""),
        ("saas/openrouter", "openai/gpt-oss-120b", ""),
    ],
)
def test_a_model_without_a_known_price_has_none(kind: str, model: str, address: str) -> None:
    assert prices.find(kind, model, address) is None


@pytest.mark.parametrize(
    ("kind", "model", "address"),
    [
        ("saas/groq", "openai/gpt-oss-120b", ""),
        ("saas/openai", "openai/gpt-oss-120b", "https://api.groq.com/openai/v1"),
        ("saas/openai", "gpt-4o", "https://api.openai.com/v1"),
        ("saas/openai", "gpt-4o", "http://127.0.0.1:4000/v1"),
        ("saas/openai", "gpt-4o", "http://litellm:4000/v1"),
        ("saas/openai", "gpt-4o", "https://proxy.corp.internal/v1"),
    ],
)
def test_a_provider_has_its_price_however_it_is_reached(kind: str, model: str, address: str) -> None:
    assert prices.find(kind, model, address)


def test_a_prompt_that_is_too_long_for_the_price_has_none() -> None:
    price = prices.find("saas/openai", "gpt-6-luna")
    assert price
    assert price.of(Usage(price.up_to, 1)) is not None
    assert price.of(Usage(price.up_to + 1, 1)) is None


def test_every_row_fits_a_deployment_of_the_kinds_it_names() -> None:
    for row in prices.load():
        for kind in row.kinds.split():
            assert registry.find(kind).info.kind
            for name in row.match.split():
                assert prices.find(kind, name.replace("*", "")) is row
