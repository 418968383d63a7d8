"""Which language is active."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from byzer_magic.i18n import LANGUAGES, language, language_of, set_language, using


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    set_language("")
    yield
    set_language("")


@pytest.mark.parametrize(
    ("name", "found"),
    [("zh", "zh_CN"), ("zh_CN.UTF-8", "zh_CN"), ("zh-Hans", "zh_CN"), ("zh_TW", "zh_CN"), ("en_US.UTF-8", "en"),
     ("C.UTF-8", "en"), ("fr", "en"), ("", "en")],
)  # fmt: skip
def test_language_of_a_locale_name(name: str, found: str) -> None:
    assert language_of(name) == found
    assert found in LANGUAGES


def test_language_is_english_by_default() -> None:
    assert language() == "en"


@pytest.mark.parametrize("variable", ["LC_ALL", "LC_MESSAGES", "LANG"])
def test_language_follows_the_locale(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    monkeypatch.setenv(variable, "zh_CN.UTF-8")
    assert language() == "zh_CN"


def test_language_of_the_process_wins_over_the_locale_and_a_block_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    set_language("zh")
    assert language() == "zh_CN"
    with using("en"):
        assert language() == "en"
    assert language() == "zh_CN"


async def test_using_holds_for_the_tasks_that_are_started_in_it() -> None:
    async def look() -> str:
        await asyncio.sleep(0)
        return language()

    with using("zh"):
        inside = asyncio.create_task(look())
    assert (await inside, await look()) == ("zh_CN", "en")
