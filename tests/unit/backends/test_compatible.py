"""Providers that are rows of compatible.toml."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date

import pytest

from byzer_magic import errors
from byzer_magic.backends import compatible, registry
from byzer_magic.backends.base import Setup, typed_params
from byzer_magic.backends.openai.backend import OpenAIBackend
from byzer_magic.commands.secrets import Secret


@pytest.mark.parametrize("row", compatible.load().values(), ids=compatible.load())
def test_rows_are_complete(row: compatible.Provider) -> None:
    assert row.base_url is None or re.fullmatch(r"https://[\w.-]+(/[\w.-]+)*/?", row.base_url)
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", name) for name in row.env)
    assert row.source.startswith("https://")
    date.fromisoformat(row.checked)


def test_row_has_its_own_url_key_and_batch_size() -> None:
    kind = registry.find("saas/qwen_compat")
    assert kind is registry.find("saas/qwen_compat")
    assert issubclass(kind, OpenAIBackend)
    assert kind.EMBED_BATCH == 10
    assert OpenAIBackend.EMBED_BATCH > 10
    found = typed_params(kind.info, {"saas.model": "m"}, {"DASHSCOPE_API_KEY": "k-dash", "OPENAI_API_KEY": "k-open"})
    assert found["saas.base_url"] == "https://dashscope.aliyuncs.com/compatible-mode/v1"
    assert found["saas.api_key"] == Secret("k-dash")


def test_key_from_the_environment_is_not_sent_to_another_url() -> None:
    given = {"saas.model": "m", "saas.base_url": "http://127.0.0.1:1/v1"}
    assert "saas.api_key" not in typed_params(registry.find("saas/groq").info, given, {"GROQ_API_KEY": "k"})


def test_row_needs_its_key_unless_base_url_is_given() -> None:
    kind = registry.find("saas/groq")
    with pytest.raises(errors.MissingKey, match="GROQ_API_KEY"):
        kind.check(Setup(model="a", params=typed_params(kind.info, {"saas.model": "m"}, {"OPENAI_API_KEY": "k"})))
    own = {"saas.model": "m", "saas.base_url": "http://127.0.0.1:1/v1"}
    kind.check(Setup(model="a", params=typed_params(kind.info, own, {})))


@pytest.mark.parametrize(("other", "name"), [("kimi", "moonshot"), ("doubao", "ark")])
def test_row_may_have_several_names(other: str, name: str) -> None:
    info = registry.find(f"saas/{other}").info
    assert (info.kind, info.params) == (f"saas/{other}", registry.find(f"saas/{name}").info.params)


def test_new_row_is_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(compatible.load()["groq"], name="newcomer", title="Newcomer", base_url="https://api.new/v1")
    monkeypatch.setattr(compatible, "load", lambda: {"newcomer": row})
    assert "saas/newcomer" in registry.kinds()
    assert registry.find("saas/newcomer").info.title == "Newcomer"


def test_older_names_of_openai_are_openai() -> None:
    for name in ("official_openai", "reasoning_openai"):
        assert registry.find(f"saas/{name}").info.params == registry.find("saas/openai").info.params
