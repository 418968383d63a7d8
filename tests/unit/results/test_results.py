"""What people hold after a request, where little or nothing of it has come, and what they do with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byzer_magic import types
from byzer_magic.client.collect import ChatCollector
from byzer_magic.errors import CommandError
from byzer_magic.media import describe
from byzer_magic.rendering.media import base as media
from byzer_magic.results import EmbedResult, ImageResult, SpeakResult
from byzer_magic.types import ChatChunk, ChatRequest, ImageItem, Usage
from tests.exchanges import exchange, interrupt
from tests.pages import Page

REQUESTS: list[types.Request] = [
    types.ChatRequest(messages=[]),
    types.EmbedRequest(texts=["a"]),
    types.RerankRequest(query="q", documents=["a"]),
    types.TranscribeRequest(audio=types.Media("audio/wav")),
    types.SpeakRequest(text="hi"),
    types.ImageRequest(prompt="a cat"),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda item: type(item).__name__)
def test_result_exists_when_interrupted_before_anything_arrived(request_: types.Request) -> None:
    found = exchange(request_).wait(interrupt)
    assert (found.interrupted, found.usage, found.model) == (True, None, "m")
    assert "m" in repr(found)
    assert isinstance(str(found), str)
    if hasattr(found, "_repr_mimebundle_"):
        assert found._repr_mimebundle_().keys() == {"text/plain"}


def speech(data: bytes = b"RIFFsecretbytes", mime: str = "audio/wav") -> SpeakResult:
    return SpeakResult(model="m", data=data, mime=mime, text="hi")


def drawing(*pictures: ImageItem) -> ImageResult:
    return ImageResult(model="m", pictures=list(pictures), prompt="a cat")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (speech(b""), "no audio"),
        (drawing(), "no image"),
        (drawing(ImageItem("image/png", b"x"), ImageItem(url="https://host/a.png")), "is a URL"),
    ],
)
def test_save_without_content_overwrites_nothing(found: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "kept.bin"
    path.write_bytes(b"earlier")
    with pytest.raises(CommandError, match=words):
        found.save(path)
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["", "no/such/x.wav", "a\0b"])
def test_save_names_a_path_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Cannot write"):
        speech().save(tmp_path / name)


def test_repr_and_str_show_no_bytes() -> None:
    for found in (speech(), drawing(ImageItem("image/png", b"secretbytes"))):
        assert "secretbytes" not in repr(found) + str(found)


def test_results_escape_provider_texts_in_html() -> None:
    shown = speech(mime='audio/wav" onerror="alert(1)')._repr_mimebundle_()["text/html"]
    assert ' onerror="' not in shown
    grid = drawing(*[ImageItem(url='https://host/"><script>')] * 2)._repr_mimebundle_()["text/html"]
    assert [tag for tag, _ in Page(grid).elements].count("script") == 1, "our own"


def test_image_result_with_a_url_is_shown_from_there() -> None:
    found = drawing(ImageItem(url="https://host/a.png"))
    assert (found.output, str(found)) == ("https://host/a.png", "https://host/a.png")
    assert 'src="https://host/a.png"' in found._repr_mimebundle_()["text/html"]


def test_image_result_does_not_embed_large_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = drawing(ImageItem("image/png", bytes(media.EMBED_BYTES + 1)))._repr_mimebundle_()
    assert len(shown["text/html"]) < 20_000
    assert "16.8 MB · too large to embed; saved to byzer_media/" in shown["text/plain"]


def test_embed_result_array_is_a_copy() -> None:
    found = EmbedResult(model="m", vectors=np.ones((1, 2), dtype="<f4"))
    made = np.array(found)
    made[0, 0] = 7
    assert found.vectors[0, 0] == 1
    assert np.asarray(found) is found.vectors
    assert np.asarray(found, dtype=np.float64).dtype == np.float64
    assert found == found  # numpy's comparison would raise
    assert hash(found)


def test_save_reads_extensions_in_any_case(tmp_path: Path) -> None:
    found = EmbedResult(model="m", vectors=np.ones((1, 2), dtype="<f4"))
    assert np.load(found.save(tmp_path / "X.NPY")).tolist() == [[1, 1]]


def test_chat_collector_result_does_not_change_when_more_arrives() -> None:
    answer = ChatCollector("m", ChatRequest(messages=[]))
    call = {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{"}}
    choice = {"index": 1, "text": "x", "finish": None}
    answer.add(ChatChunk("a", tool_calls=[call], extra={"logprobs": {"content": [1]}, "choices": [choice]}))
    before = answer.result()
    whole = json.dumps([before.tool_calls, before.raw])
    more = {"index": 0, "function": {"arguments": "}"}}
    answer.add(ChatChunk("b", tool_calls=[more], extra={"logprobs": {"content": [2]}, "choices": [choice]}))
    assert json.dumps([before.tool_calls, before.raw]) == whole
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


@pytest.mark.parametrize(("count", "text"), [(0, "0 kB"), (1, "1 kB"), (1001, "2 kB"), (2_500_000, "2.5 MB")])
def test_size_is_readable(count: int, text: str) -> None:
    assert describe.size(count) == text
