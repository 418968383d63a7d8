"""The line under an answer, in both languages, wherever it is shown."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from byzer_magic.client.collect import collector_for
from byzer_magic.i18n import using
from byzer_magic.rendering import assets, footer, results
from byzer_magic.rendering.answer import columns
from byzer_magic.rendering.answer.view import Shown, View, bundle as answer_bundle
from byzer_magic.results import ChatResult, EmbedResult, Result, SpeakResult, TranscribeResult
from byzer_magic.results.metadata import Timings
from byzer_magic.types import (
    EmbeddingBatch,
    EmbedRequest,
    PromptTruncation,
    Segment,
    Truncation,
    Usage,
)
from tests.pages import Page

TRUNCATED = PromptTruncation(2050, 7900, "Set a longer context.")
EVIL = '<img src=x onerror="alert(1)">'


def chat(**more: Any) -> ChatResult:
    timings = Timings(first_token=0.5, total=2.5)
    usage = Usage(7, 101, 0.0012, "USD")
    known: dict[str, Any] = {"text": "hi", "model": "gpt", "worker": 0, "usage": usage, "timings": timings}
    return ChatResult(**known | {"finish": "stop"} | more)


def embeddings(rows: int, truncation: Truncation | None = None) -> EmbedResult:
    return EmbedResult(
        model="m", vectors=np.ones((rows, 8), dtype="<f4"), truncated=truncation, timings=Timings(total=1.0)
    )


@pytest.mark.parametrize(
    ("result", "english", "chinese"),
    [
        (
            chat(),
            "gpt · worker 0 · TTFT 0.50 s · 7 + 101 tokens · 50 tokens/s · 2.50 s · $0.0012",
            "gpt · worker 0 · 首 token 0.50 s · 7 + 101 个 token · 50 token/s · 2.50 s · $0.0012",
        ),
        (
            chat(usage=None, finish="length"),
            "gpt · worker 0 · TTFT 0.50 s · 2.50 s · finish reason: length",
            "gpt · worker 0 · 首 token 0.50 s · 2.50 s · 结束原因：length",
        ),
        (
            chat(worker=None, usage=Usage(7, 1), interrupted=True, finish=None),
            "gpt · TTFT 0.50 s · 7 + 1 tokens · 2.50 s · interrupted",
            "gpt · 首 token 0.50 s · 7 + 1 个 token · 2.50 s · 已中断",
        ),
        (
            chat(usage=Usage(2050, 101, truncated=TRUNCATED)),
            "gpt · worker 0 · TTFT 0.50 s · 2050 + 101 tokens · 50 tokens/s · 2.50 s"
            " · ⚠ Only 2,050 of about 7,900 prompt tokens were read. Set a longer context.",
            "gpt · worker 0 · 首 token 0.50 s · 2050 + 101 个 token · 50 token/s · 2.50 s"
            " · ⚠ 提示词约有 7,900 个 token，只读取了 2,050 个。Set a longer context.",
        ),
        (embeddings(1), "m · 1 embedding, 8 dimensions · 1.00 s", "m · 1 个 8 维向量 · 1.00 s"),
        (
            embeddings(3, Truncation([0, 2], 8192)),
            "m · 3 embeddings, 8 dimensions; 2 texts were truncated at 8,192 tokens · 1.00 s",
            "m · 3 个 8 维向量；2 条文本在 8,192 个 token 处被截断 · 1.00 s",
        ),
        (
            embeddings(1, Truncation([0], 512)),
            "m · 1 embedding, 8 dimensions; 1 text was truncated at 512 tokens · 1.00 s",
            None,
        ),
    ],
)
def test_line_has_all_that_an_answer_took(result: Result, english: str, chinese: str | None) -> None:
    assert footer.line(result) == english
    with using("zh"):
        assert chinese is None or footer.line(result) == chinese


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_figures_are_the_line_without_alias_and_worker(lang: str) -> None:
    result = chat()
    with using(lang):
        column = columns.footer_of(columns.Column(alias="gpt", state="done", result=result))
        assert footer.line(result) == f"gpt · worker 0 · {column}"


def test_line_names_where_a_partial_answer_is() -> None:
    part = chat(interrupted=True)
    output = footer.line(part, by_error=True)
    assert output.endswith("· interrupted by an error; the partial answer is in _chat")
    with using("zh"):
        assert "_chat" in footer.line(part, by_error=True)


def test_line_has_the_cost_of_the_tokens() -> None:
    assert (chat().cost, chat().currency) == (0.0012, "USD")
    for unknown in (chat(usage=None), chat(usage=Usage(7, 101))):
        assert (unknown.cost, unknown.currency) == (None, "")
    speech = SpeakResult(model="m", data=b"x", mime="audio/mpeg", text="hi", usage=Usage(1, 2, 0.5, "CNY"))
    assert (speech.cost, speech.currency) == (0.5, "CNY")
    assert footer.line(speech).endswith("¥0.5000")


def test_usage_sum_has_a_cost_where_all_parts_have() -> None:
    known, unknown = Usage(1, 2, 0.25, "USD"), Usage(1, 2)
    assert known + known == Usage(2, 4, 0.5, "USD")
    assert known + unknown == unknown + known == Usage(2, 4)


@pytest.mark.parametrize(("costs", "complete"), [((0.25, 0.5), 0.75), ((0.25, None), None), ((None, 0.25), None)])
def test_collector_adds_the_costs_of_parts(costs: tuple[float | None, ...], complete: float | None) -> None:
    collector = collector_for("m", EmbedRequest(texts=["a", "b"]))
    for start, cost in enumerate(costs):
        usage = Usage(3, 0, cost, "USD" if cost else "")
        collector.add(EmbeddingBatch(start, 1, np.ones(1, dtype="<f4").tobytes(), usage))
    assert collector.result().cost == complete


def test_usage_decodes_without_costs() -> None:
    class Old(msgspec.Struct):
        prompt_tokens: int = 0
        completion_tokens: int = 0

    found = msgspec.msgpack.decode(msgspec.msgpack.encode(Usage(7, 3, 0.5, "USD")), type=Old)
    assert (found.prompt_tokens, found.completion_tokens) == (7, 3)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(Old(7, 3)), type=Usage) == Usage(7, 3)


def test_footers_share_one_style() -> None:
    style = assets.read("footer.css")
    alone = footer.bundle(EVIL)["text/html"]
    view = answer_bundle(Shown(text="hi", footer=EVIL))["text/html"]
    transcript = TranscribeResult(model="m", text="a b", segments=[Segment(0, 1, "a b")], timings=Timings(total=1.0))
    below = results.with_footer(transcript)
    column = columns.Column(alias="gpt", state="done", result=chat())
    beside = columns.bundle([column], {"gpt": View(key="gpt")})["text/html"]
    for shown in (alone, view, below["text/html"], beside):
        assert style in shown
        assert Page(shown).all("div", "bz-footer") or Page(shown).all("footer", "bz-footer")
        assert "img" not in Page(shown).tags()
    assert below["text/plain"].endswith("m · 1.00 s")


def test_footer_notes_broken_characters() -> None:
    assert "broken characters replaced" in footer.line(chat(raw={"repaired": "broken characters replaced by U+FFFD"}))
    assert "broken" not in footer.line(chat())
