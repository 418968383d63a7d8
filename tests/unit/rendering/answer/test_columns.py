"""Answers side by side: what is shown of each, what a judge sees, what a frame holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from byzer_magic.errors import AuthenticationFailed
from byzer_magic.i18n import using
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
from byzer_magic.results.metadata import Metadata, Timings
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


def test_bundle_columns_have_name_state_answer_and_footer() -> None:
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


def test_bundle_shows_error_and_partial_answer() -> None:
    error = AuthenticationFailed(f"No key {EVIL}", "Set saas.api_key.")
    page = Page(shown(column(chat(text="the part", interrupted=True, error=error)))["text/html"])
    assert page.all("p", "bz-error")
    assert "Set saas.api_key." in page.text
    assert "the part" in page.text
    assert "img" not in page.tags()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_bundle_takes_all_kinds_of_results(lang: str) -> None:
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
    assert len(page.all("tr")) == 51 + 3, "more than fifty embeddings are not shown"
    assert len(page.all("audio")) == 1


def test_bundle_shows_the_text_of_a_result_that_it_does_not_know() -> None:
    class Translated(Metadata, frozen=True, kw_only=True):
        text: str

        def __str__(self) -> str:
            return self.text

    data = shown(column(Translated(model="mt", text=EVIL)))  # type: ignore[arg-type]  # as a new capability has it
    assert EVIL in Page(data["text/html"]).text
    assert "img" not in Page(data["text/html"]).tags()


def test_bundle_delays_media_until_all_have_finished() -> None:
    voice = column(SpeakResult(model="voice", data=b"ID3", mime="audio/mpeg", text="hi"))
    waiting = shown(voice, Column(alias="b", state="answering", text="..."))["text/html"]
    assert "audio" not in Page(waiting).tags()
    assert "shown when all models have finished" in waiting


def test_bundle_notes_truncation_in_chinese() -> None:
    truncation = Truncation([1], 512)
    embeddings = EmbedResult(model="emb", vectors=np.ones((2, 8), dtype="<f4"), truncated=truncation)
    ranking = RerankResult(model="rank", order=[(0, 0.9)], documents=["best"], truncated=truncation)
    with using("zh"):
        data = shown(column(embeddings), column(ranking))
    for text in (Page(data["text/html"]).text, data["text/plain"]):
        assert text.count("1 条文本在 512 个 token 处被截断") == 2
        assert "2 个 8 维向量" in text
