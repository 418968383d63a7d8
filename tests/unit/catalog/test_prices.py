"""What models cost."""

from __future__ import annotations

import re

import pytest

from byzer_magic.backends import registry
from byzer_magic.catalog import prices
from byzer_magic.types import Usage


def test_price_rows_have_source_and_date() -> None:
    for row in prices.load():
        assert row.source.startswith("https://")
        assert re.fullmatch(r"\d{4}-\d\d(-\d\d)?", row.checked)
        assert row.currency in ("USD", "CNY")
        assert row.match == row.match.lower()


def test_price_of_a_response() -> None:
    price = prices.find("saas/openai", "gpt-4o")
    assert price
    assert price.of(Usage(1_000_000, 100_000)) == pytest.approx(price.input + price.output / 10)


@pytest.mark.parametrize(
    ("kind", "model", "base_url"),
    [
        ("saas/openai", "something-new", ""),
        ("custom/auto", "gpt-4o", ""),
        ("saas/openai", "gpt-4o", "https://8.8.8.8/v1"),
        ("saas/openai", "gpt-4o", "https://my-proxy.example/api.openai.com"),
        ("saas/ollama", "gpt-oss-120b", ""),
        ("saas/openrouter", "openai/gpt-oss-120b", ""),
    ],
)
def test_find_returns_none_without_a_known_price(kind: str, model: str, base_url: str) -> None:
    assert prices.find(kind, model, base_url) is None


@pytest.mark.parametrize(
    ("kind", "model", "base_url"),
    [
        ("saas/groq", "openai/gpt-oss-120b", ""),
        ("saas/openai", "openai/gpt-oss-120b", "https://api.groq.com/openai/v1"),
        ("saas/openai", "gpt-4o", "https://api.openai.com/v1"),
        ("saas/openai", "gpt-4o", "http://127.0.0.1:4000/v1"),
        ("saas/openai", "gpt-4o", "http://litellm:4000/v1"),
        ("saas/openai", "gpt-4o", "https://proxy.corp.internal/v1"),
    ],
)
def test_find_knows_a_provider_by_type_and_by_url(kind: str, model: str, base_url: str) -> None:
    assert prices.find(kind, model, base_url)


def test_price_has_no_cost_for_a_longer_prompt() -> None:
    price = prices.find("saas/openai", "gpt-6-luna")
    assert price
    assert price.of(Usage(price.up_to, 1)) is not None
    assert price.of(Usage(price.up_to + 1, 1)) is None


def test_price_rows_fit_deployments_of_their_kinds() -> None:
    for row in prices.load():
        for kind in row.kinds.split():
            assert registry.find(kind).info.kind
            for name in row.match.split():
                assert prices.find(kind, name.replace("*", "")) is row
