"""A prompt of which a provider has silently left out a part is told, with the next step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from byzer_magic.backends import registry
from byzer_magic.i18n import localized, using
from byzer_magic.routing import token_counts
from byzer_magic.runtime import gather
from byzer_magic.runtime.metrics import Metrics
from byzer_magic.runtime.prompt_check import PromptCheck
from byzer_magic.runtime.transport import protocol
from byzer_magic.types import ChatChunk, ChatRequest, EmbedRequest, Media, Message, PromptTruncation, Usage

TEXT = "This sentence has about ten tokens, as most of them have. " * 600
OLLAMA, OPENAI = registry.find("saas/ollama").info, registry.find("saas/openai").info


def request(*messages: Message, **options: Any) -> ChatRequest:
    return ChatRequest(messages=[*messages] or [Message("user", TEXT)], options=options)


def truncated(asked: Any, read: int, info: Any = OPENAI, **more: Any) -> PromptTruncation | None:
    return PromptCheck(asked, info, "m")(Usage(read, 10, **more)).truncated


def test_hint_names_the_option_where_there_is_one_else_the_likely_limit() -> None:
    found = truncated(request(), 2_050, OLLAMA)
    assert str(found) == "Only 2,050 of about 8,700 prompt tokens were read."
    assert found
    assert found.hint == "Set a longer context: update --model m --infer_params saas.num_ctx=16384"
    found = truncated(request(), 2_050)
    assert found
    assert "probably has 2,050 to 4,100 tokens" in found.hint


def test_texts_are_in_the_language_of_whoever_reads_them() -> None:
    found = truncated(request(), 2_050, OLLAMA)
    sent = protocol.Item(1, protocol.pack(ChatChunk(usage=Usage(truncated=found))))
    arrived = protocol.item_of("chat", sent).usage.truncated
    assert arrived == found
    with using("zh"):
        assert localized(arrived.message) == "提示词约有 8,700 个 token，只读取了 2,050 个。"
        assert localized(arrived.hint) == "请增大上下文长度：update --model m --infer_params saas.num_ctx=16384"


@pytest.mark.parametrize("read", [0, 1, 7, 255, 5_100, 7_800, 50_000])
def test_whole_prompt_a_placeholder_or_no_count_is_no_truncation(read: int) -> None:
    assert truncated(request(), read) is None


def test_tokens_that_come_from_a_cache_were_read() -> None:
    assert truncated(request(), 2_050, cached_tokens=5_900) is None
    assert truncated(request(), 2_050, cached_tokens=100)


@pytest.mark.parametrize(
    "asked",
    [
        request(Message("user", "hi"), tools=[{"type": "function", "function": {"name": "f", "description": TEXT}}]),
        request(Message("user", [{"type": "text", "text": "What is it?"}, Media("image/png", b"x" * 99_999)])),
        request(Message("user", [{"type": "file", "file": {"file_data": TEXT}}])),
        request(Message("user", "hi"), Message("assistant", f"<think>{TEXT}</think>Hello!"), Message("user", "hi")),
        request(Message("user", "hi"), Message("assistant", [{"type": "thinking", "thinking": TEXT}])),
        request(context_management={"edits": [{"type": "clear_tool_uses_20250919"}]}),
        EmbedRequest(texts=[TEXT]),
    ],
    ids=["tools", "image", "file", "earlier thoughts", "thinking of Claude", "told to leave out", "embeddings"],
)
def test_what_models_need_not_read_as_text_is_not_missed(asked: Any) -> None:
    assert truncated(asked, 300) is None


def test_what_another_pool_has_found_stays() -> None:
    """A route's deployment knows the option, which the route does not."""
    found = truncated(request(), 2_050, OLLAMA)
    assert PromptCheck(request(), OPENAI, "route")(Usage(2_050, 10, truncated=found)).truncated == found


async def test_last_count_of_a_response_decides() -> None:
    async def items() -> AsyncIterator[Any]:
        yield ChatChunk("a", usage=Usage(300, 1))
        yield ChatChunk("b", usage=Usage(8_000, 2))

    first, last = [item async for item in Metrics().measured(items(), PromptCheck(request(), OLLAMA, "m"))]
    assert first.usage.truncated
    assert last.usage.truncated is None
    [joined] = gather.joined([first, last])
    assert joined.usage == Usage(8_000, 2)


def test_prompt_is_looked_at_once_where_every_chunk_has_counts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[int] = []

    def counted(asked: ChatRequest, read: int) -> int:
        looks.append(read)
        return 7_900 if read < 4_000 else 0

    monkeypatch.setattr(token_counts, "truncated_from", counted)
    check = PromptCheck(request(), OLLAMA, "m")
    found = [check(Usage(read, number)).truncated for read in (2_050, 8_000) for number in range(9)]
    assert looks == [2_050, 8_000]
    assert [bool(truncated) for truncated in found] == [True] * 9 + [False] * 9
    assert len(caplog.records) == 1


def test_sum_of_several_answers_keeps_it() -> None:
    found = truncated(request(), 2_050, OLLAMA)
    for total in (Usage(1, 1) + Usage(1, 1, truncated=found), Usage(1, 1, truncated=found) + Usage(1, 1)):
        assert total.truncated == found
    assert msgspec.msgpack.encode(Usage(7, 3)) == msgspec.msgpack.encode({"prompt_tokens": 7, "completion_tokens": 3})
