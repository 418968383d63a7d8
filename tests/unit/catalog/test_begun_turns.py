"""The rows of begun_turns.toml."""

from __future__ import annotations

from datetime import date

import pytest

from byzer_magic.catalog import begun_turns


@pytest.mark.parametrize("row", begun_turns.load(), ids=lambda row: row.hosts[:24])
def test_rows_are_complete(row: begun_turns.BegunTurn) -> None:
    assert row.source.startswith("https://")
    assert row.field.isidentifier()
    date.fromisoformat(row.checked)


@pytest.mark.parametrize(
    ("host", "field"),
    [
        ("api.deepseek.com", "prefix"),
        ("API.moonshot.cn", "partial"),
        ("dashscope-intl.aliyuncs.com", "partial"),
        ("api.deepseek.com.evil.com", ""),
        ("127.0.0.1", ""),
        ("", ""),
    ],
)
def test_mark_follows_the_host(host: str, field: str) -> None:
    assert begun_turns.mark(host) == field
