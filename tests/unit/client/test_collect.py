"""Collectors: from the chunks of a response to its result."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from byzer_magic import errors, types
from byzer_magic.client.collect import ChatCollector, collector_for
from byzer_magic.i18n import using
from byzer_magic.rendering import footer, progress
from byzer_magic.types import ChatChunk, ChatRequest, Usage
from tests.exchanges import exchange

PNG = types.ImageItem("image/png", b"\x89PNG<>", caption="a cat")


def result(request: types.Request, *items: Any) -> Any:
    return exchange(request, *items).wait()


def embeddings(start: int, *rows: list[float]) -> types.EmbeddingBatch:
    return types.EmbeddingBatch(start, len(rows[0]), np.array(rows, dtype="<f4").tobytes(), Usage(len(rows)))


def test_embedding_collector_joins_batches_and_adds_their_usage() -> None:
    found = result(types.EmbedRequest(texts=["a", "b", "c"]), embeddings(0, [1, 2], [3, 4]), embeddings(2, [5, 6]))
    assert np.array_equal(np.asarray(found), [[1, 2], [3, 4], [5, 6]])
    assert (found.usage, found.worker, found.timings.queued, len(found)) == (Usage(3), 1, 0.5, 3)
    assert json.loads(found.output) == [[1, 2], [3, 4], [5, 6]]
    assert str(found) == "3 embeddings, 2 dimensions"


def test_audio_collector_joins_chunks_to_a_playable_file() -> None:
    found = result(
        types.SpeakRequest(text="hi"), types.AudioChunk(b"12", "audio/mpeg"), types.AudioChunk(b"34", "audio/mpeg")
    )
    assert (found.data, base64.b64decode(found.output)) == (b"1234", b"1234")
    bundle = found._repr_mimebundle_()
    assert f"data:audio/mpeg;base64,{found.output}" in bundle["text/html"]
    assert "1234" not in repr(found)


def test_ranking_collector_returns_documents_with_scores() -> None:
    found = result(types.RerankRequest(query="q", documents=["a", "b"]), types.Ranking([(1, 0.9), (0, 0.1)]))
    assert found.documents == ["b", "a"]
    assert json.loads(found.output)[0] == {"index": 1, "score": 0.9, "document": "b"}
    assert "cut" not in footer.line(found)


def test_ranking_collector_reports_truncated_documents() -> None:
    request = types.RerankRequest(query="q", documents=["a", "b"])
    found = result(request, types.Ranking([(1, 0.9), (0, 0.1)], types.Usage(9), types.Truncation([0], 64)))
    assert found.truncated == types.Truncation([0], 64)
    assert " · 1 text was truncated at 64 tokens · 9 + 0 tokens" in footer.line(found)
    assert "truncated" not in str(found), "the text is the ranking only"


def test_chat_collector_keeps_the_tool_calls_of_choices_apart() -> None:
    collector = ChatCollector("m", types.ChatRequest(messages=[]))
    for arguments in ('{"a"', ": 1}"):
        for index in (2, 0, 1):
            text = arguments.replace("1", str(index))
            call = {"index": 0, "id": f"c{index}", "function": {"name": "f", "arguments": text}}
            other = {"index": index, "text": "", "finish": None, "reasoning": "hm", "tool_calls": [call]}
            collector.add(
                types.ChatChunk(tool_calls=[call]) if not index else types.ChatChunk(extra={"choices": [other]})
            )
    found = collector.result()
    calls = [found.tool_calls, *(choice["tool_calls"] for choice in found.raw["choices"])]
    assert [[call["function"]["arguments"] for call in one or ()] for one in calls] == [
        [f'{{"a": {index}}}'] for index in range(3)
    ]
    assert [choice["reasoning"] for choice in found.raw["choices"]] == ["hmhm", "hmhm"]


def test_chat_collector_adds_up_choices_and_log_probabilities() -> None:
    request = types.ChatRequest(messages=[])
    found = result(
        request,
        types.ChatChunk("a", extra={"logprobs": {"content": [1]}}),
        types.ChatChunk(extra={"choices": [{"index": 1, "text": "x", "finish": None}]}),
        types.ChatChunk("b", extra={"logprobs": {"content": [2]}}),
        types.ChatChunk(extra={"choices": [{"index": 1, "text": "y", "finish": "stop"}]}),
    )
    assert found.text == "ab"
    assert found.raw["logprobs"] == {"content": [1, 2]}
    assert found.raw["choices"] == [{"index": 1, "text": "xy", "finish": "stop"}]


@pytest.mark.parametrize(
    ("request_", "items", "english", "chinese"),
    [
        (types.ChatRequest(messages=[]), [], "waiting", "等待中"),
        (types.ChatRequest(messages=[]), [types.ChatChunk("hello")], "5 characters", "5 个字符"),
        (types.EmbedRequest(texts=["a"] * 3), [embeddings(0, [1, 2])], "1 of 3 texts", "1/3 条文本"),
        (types.RerankRequest(query="q", documents=["a", "b"]), [], "2 documents", "2 篇文档"),
        (types.TranscribeRequest(audio=types.Media("audio/wav")), [], "transcribing", "正在转写"),
        (
            types.TranscribeRequest(audio=types.Media("audio/wav")),
            [types.TranscriptChunk("so far")],
            "so far",
            "so far",
        ),
        (types.SpeakRequest(text="hi"), [], "generating audio", "正在合成语音"),
        (
            types.SpeakRequest(text="hi"),
            [types.AudioChunk(b"1", "audio/wav")],
            "generating audio, 1 kB",
            "正在合成语音，1 kB",
        ),
        (types.ImageRequest(prompt="a"), [], "generating images", "正在生成图片"),
        (types.ImageRequest(prompt="a"), [PNG], "generating images, 1 done", "正在生成图片，已完成 1 张"),
    ],
)
def test_progress_is_worded_in_both_languages(
    request_: types.Request, items: list[Any], english: str, chinese: str
) -> None:
    collector = collector_for("m", request_)
    for item in items:
        collector.add(item)
    assert progress.of(collector).stage == english
    with using("zh"):
        assert progress.of(collector).stage == chinese
        assert chinese in progress.bundle([progress.of(collector)])["text/plain"]


def test_chat_collector_result_does_not_change_when_more_arrives() -> None:
    answer = ChatCollector("m", ChatRequest(messages=[]))
    call = {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{"}}
    choice = {"index": 1, "text": "x", "finish": None}
    answer.add(ChatChunk("a", tool_calls=[call], extra={"logprobs": {"content": [1]}, "choices": [choice]}))
    before = answer.result()
    complete = json.dumps([before.tool_calls, before.raw])
    more = {"index": 0, "function": {"arguments": "}"}}
    answer.add(ChatChunk("b", tool_calls=[more], extra={"logprobs": {"content": [2]}, "choices": [choice]}))
    assert json.dumps([before.tool_calls, before.raw]) == complete
    assert answer.result().tool_calls == [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


def test_chat_collector_orders_tool_calls_by_index() -> None:
    answer = ChatCollector("m", ChatRequest(messages=[]))
    for index in (10**9, 3):
        answer.add(ChatChunk(tool_calls=[{"index": index, "id": str(index), "function": {"name": "f"}}]))
    assert [call["id"] for call in answer.result().tool_calls or []] == ["3", str(10**9)]


def test_chat_collector_joins_log_probabilities_with_gaps_and_changes_no_chunk() -> None:
    answer = ChatCollector("m", ChatRequest(messages=[]))
    first = ChatChunk("a", extra={"logprobs": {"content": [1], "refusal": None}})
    for chunk in (
        first,
        ChatChunk("b", extra={"logprobs": None}),
        ChatChunk("c", extra={"logprobs": {"content": [2]}}),
    ):
        answer.add(chunk)
    assert answer.result().raw["logprobs"]["content"] == [1, 2]
    assert first.extra == {"logprobs": {"content": [1], "refusal": None}}


def test_chat_collector_keeps_the_last_usage() -> None:
    answer = ChatCollector("m", ChatRequest(messages=[]))
    for chunk in (ChatChunk("a", usage=Usage(5, 1)), ChatChunk("b", usage=Usage(5, 2)), ChatChunk(finish="stop")):
        answer.add(chunk)
    assert answer.result().usage == Usage(5, 2)


def test_embeddings_of_another_dimension_are_an_error_and_keep_the_first() -> None:
    collector = collector_for("m", types.EmbedRequest(texts=["a", "b", "c"]))
    collector.add(embeddings(0, [1, 2]))
    with pytest.raises(errors.ProviderUnavailable, match="2 dimensions at first, then 3"):
        collector.add(embeddings(1, [1, 2, 3], [4, 5, 6]))
    assert collector.result(interrupted=True).vectors.tolist() == [[1, 2]]  # type: ignore[attr-defined]  # EmbedResult


@pytest.mark.parametrize(
    ("deltas", "joined"),
    [
        ([{"content": 5}], {"content": 5}),
        ([{"content": True}, {"content": [1]}], {"content": [1]}),
        ([{"content": [1]}, {"content": {"a": 1}}], {"content": {"a": 1}}),
        ([{"text_offset": 3}, {"text_offset": 4}], {"text_offset": 4}),
        ([{"content": [1]}, {"content": None}, {"content": [2]}], {"content": [1, 2]}),
    ],
)
def test_odd_log_probabilities_are_kept_as_they_are(deltas: list[dict[str, Any]], joined: dict[str, Any]) -> None:
    answer = ChatCollector("m", ChatRequest(messages=[]))
    for delta in deltas:
        answer.add(ChatChunk("a", extra={"logprobs": delta}))
    assert answer.result().raw["logprobs"] == joined


@pytest.mark.parametrize("index", [{}, {"index": 0}])
@pytest.mark.parametrize("at_once", [True, False])
def test_complete_calls_with_one_id_are_all_kept(index: dict[str, int], at_once: bool) -> None:
    calls = [{**index, "id": "call_0", "function": {"name": "f", "arguments": f'{{"q": {n}}}'}} for n in (1, 2, 3)]
    answer = ChatCollector("m", ChatRequest(messages=[]))
    for chunk in [calls] if at_once else [[call] for call in calls]:
        answer.add(ChatChunk(tool_calls=chunk))
    found = [call["function"]["arguments"] for call in answer.result().tool_calls or []]
    assert found == ['{"q": 1}', '{"q": 2}', '{"q": 3}']
