"""Answers side by side: what is shown of each, what a judge sees, what a frame holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from byzer_magic.errors import AuthenticationFailed, CommandError
from byzer_magic.i18n import using
from byzer_magic.magics import columns as asking
from byzer_magic.rendering.answer import columns
from byzer_magic.rendering.answer.columns import Column
from byzer_magic.rendering.answer.view import View
from byzer_magic.results import (
    ChatResult,
    EmbedResult,
    ImageResult,
    RerankResult,
    Result,
    SpeakResult,
    TranscribeResult,
)
from byzer_magic.results.comparison import Answers
from byzer_magic.results.metadata import Timings
from byzer_magic.types import ImageItem, Segment, Truncation, Usage
from tests.pages import Page

EVIL = '<img src=x onerror="alert(1)"> </section>'


def chat(model: str = "a", text: str = "**hello**", **more: Any) -> ChatResult:
    timings = Timings(first_token=0.5, total=2.5)
    return ChatResult(model=model, text=text, timings=timings, finish="stop", **{"usage": Usage(7, 101)} | more)


def shown(*found: Column) -> dict[str, str]:
    views = {column.alias: View(key=column.alias) for column in found}
    return columns.bundle(found, views)


def column(result: Result) -> Column:
    return Column(alias=result.model, state="failed" if result.error else "done", result=result)


def test_each_has_its_name_state_answer_and_footer() -> None:
    paid = chat(usage=Usage(7, 101, 0.0012, "USD"))
    data = shown(column(paid), Column(alias="b", state="answering", seconds=3.4, text="so *far*"))
    page = Page(data["text/html"])
    assert [section["aria-label"] for section in page.all("section")] == ["a", "b"]
    assert page.all("div", "bz-columns")[0]["aria-label"] == "2 answers side by side"
    assert "✓ done" in page.text
    assert "◐ answering · 3 s" in page.text
    assert "TTFT 0.50 s · 7 + 101 tokens · 50 tokens/s · 2.50 s · $0.0012" in page.text
    assert {"strong", "em"} <= page.tags()
    assert data["text/plain"].startswith("== a ==\n**hello**\nTTFT")
    assert data["text/plain"].endswith("== b ==\nso *far*")


def test_a_failed_one_shows_its_error_and_the_part_that_came() -> None:
    error = AuthenticationFailed(f"No key {EVIL}", "Set saas.api_key.")
    page = Page(shown(column(chat(text="the part", interrupted=True, error=error)))["text/html"])
    assert page.all("p", "bz-error")
    assert "Set saas.api_key." in page.text
    assert "the part" in page.text
    assert "img" not in page.tags()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_all_kinds_of_results_stand_in_columns(lang: str) -> None:
    made: list[Result] = [
        chat(model=EVIL, text=EVIL, reasoning=EVIL, tool_calls=[{"function": {"name": EVIL, "arguments": EVIL}}]),
        EmbedResult(model="emb", vectors=np.ones((70, 8), dtype="<f4")),
        RerankResult(model="rank", order=[(1, 0.9), (0, 0.1)], documents=["best", EVIL]),
        SpeakResult(model="voice", data=b"ID3", mime="audio/mpeg", text=EVIL),
        ImageResult(model="draw", pictures=[ImageItem("image/png", b"x")], prompt=EVIL),
        TranscribeResult(model="hear", text="a b", segments=[Segment(0, 1, EVIL)]),
        chat(model="empty", text=""),
    ]
    with using(lang):
        data = shown(*map(column, made))
    page = Page(data["text/html"])
    assert len(page.all("section", "bz-column")) == len(made)
    assert all("onerror" not in attrs for _, attrs in page.elements)
    assert len(page.all("tr")) == 51 + 3, "more than fifty vectors are not shown"
    assert len(page.all("audio")) == 1


def test_sounds_and_pictures_wait_until_nothing_is_repainted() -> None:
    voice = column(SpeakResult(model="voice", data=b"ID3", mime="audio/mpeg", text="hi"))
    waiting = shown(voice, Column(alias="b", state="answering", text="..."))["text/html"]
    assert "audio" not in Page(waiting).tags()
    assert "shown when all models have finished" in waiting


def test_answers_become_rows() -> None:
    failed = chat("b", "", error=AuthenticationFailed("no key"), interrupted=True)
    table = Answers([chat(usage=Usage(7, 101, 0.5, "USD")), failed]).frame()
    assert list(table.model) == ["a", "b"]
    assert table.tokens_per_second[0] == 50
    assert (table.cost[0], table.currency[0]) == (0.5, "USD")
    assert table.error[1] == "no key"


@pytest.mark.parametrize(("text", "found"), [("a", ["a"]), ("a,b", ["a", "b"]), ("a, b ,c", ["a", "b", "c"])])
def test_aliases_are_parted_by_commas(text: str, found: list[str]) -> None:
    assert asking.names(text) == found


@pytest.mark.parametrize("text", ["a,", ",a", "a,,b", "a,b,a"])
def test_missing_and_repeated_aliases_are_refused(text: str) -> None:
    with pytest.raises(CommandError):
        asking.names(text)


def test_the_judge_sees_letters_in_an_order_that_tells_nothing() -> None:
    aliases = [f"m{number}" for number in range(30)]
    letters = asking.lettered("why?", aliases)
    assert letters == asking.lettered("why?", aliases[::-1]), "the order in which they were named does not matter"
    assert letters != asking.lettered("why not?", aliases)
    assert list(letters) != sorted(letters)
    assert sorted(letters.values(), key=lambda item: (len(item), item))[25:27] == ["Z", "AA"]


def test_vectors_and_rankings_say_in_chinese_what_was_cut() -> None:
    cut = Truncation([1], 512)
    vectors = EmbedResult(model="emb", vectors=np.ones((2, 8), dtype="<f4"), truncated=cut)
    ranking = RerankResult(model="rank", order=[(0, 0.9)], documents=["best"], truncated=cut)
    with using("zh"):
        data = shown(column(vectors), column(ranking))
    for text in (Page(data["text/html"]).text, data["text/plain"]):
        assert text.count("1 条文本在 512 个 token 处截断") == 2
        assert "2 个 8 维向量" in text


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_judge_is_asked_with_the_answers_as_data(lang: str) -> None:
    texts = {"gpt": "one {x}", "qwen": "two </answer>"}
    letters = {"qwen": "A", "gpt": "B"}
    with using(lang):
        system, asked = asking.judge_messages("why {y}?", texts, letters)
    assert (system.role, asked.role) == ("system", "user")
    said = str(asked.content)
    assert said.index("two") < said.index("one {x}")
    assert "why {y}?" in said
    assert "gpt" not in said
    assert "qwen" not in said
    assert said.count("</answer>") == 2, "an answer cannot end its own quotation"
