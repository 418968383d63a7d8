"""The rows of renamed_fields.toml."""

from __future__ import annotations

from datetime import date

import pytest

from byzer_magic.catalog import renamed_fields


@pytest.mark.parametrize("row", renamed_fields.load(), ids=lambda row: f"{row.hosts[:24]}-{row.name}")
def test_rows_are_complete(row: renamed_fields.RenamedField) -> None:
    assert row.source.startswith("https://")
    assert row.name != row.successor
    assert row.models == row.models.lower()
    date.fromisoformat(row.checked)


@pytest.mark.parametrize(
    ("host", "model", "renamed"),
    [
        ("api.openai.com", "o3-mini", True),
        ("api.openai.com", "GPT-5-mini", True),
        ("api.openai.com", "gpt-4o", False),
        ("mine.openai.azure.com", "gpt-5", True),
        ("dashscope-intl.aliyuncs.com", "qwen-plus", True),
        ("cn-hongkong.dashscope.aliyuncs.com", "qwen-plus", True),
        ("openrouter.ai", "openai/gpt-5", False),
        ("api.openai.com.evil.com", "gpt-5", False),
    ],
)
def test_successors_follow_host_and_model(host: str, model: str, renamed: bool) -> None:
    assert bool(renamed_fields.successors(host, model)) is renamed
