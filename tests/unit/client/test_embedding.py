"""Embedding a list of texts of any length."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from byzer_magic.client.embedding import CHARACTERS_AT_ONCE, TEXTS_AT_ONCE, Embedding
from byzer_magic.types import EmbeddingBatch, EmbedRequest, Request, Truncation


class Lengths:
    """Embeds a text as its length, and truncates texts of more than five characters."""

    def __init__(self) -> None:
        self.requests: list[EmbedRequest] = []

    async def ask(self, _alias: str, request: Request, /) -> AsyncIterator[Any]:
        assert isinstance(request, EmbedRequest)
        self.requests.append(request)
        long = [index for index, text in enumerate(request.texts) if len(text) > 5]
        rows = np.array([[len(text)] for text in request.texts], dtype="<f4")
        yield EmbeddingBatch(0, 1, rows.tobytes(), truncated=Truncation(long, 5) if long else None)


def embedding(asked: Lengths, texts: Any) -> Embedding:
    return Embedding(asked, "m", texts, {}, None)


async def test_embedding_of_one_text_is_one_row() -> None:
    assert (await embedding(Lengths(), "four").run()).tolist() == [4]


async def test_embedding_of_no_texts_sends_nothing() -> None:
    asked = Lengths()
    assert (await embedding(asked, []).run()).shape == (0, 0)
    assert not asked.requests


@pytest.mark.filterwarnings("ignore:Texts truncated")
async def test_embedding_sends_long_texts_in_parts_of_a_bounded_length() -> None:
    asked = Lengths()
    half, over = "x" * (CHARACTERS_AT_ONCE // 2), "y" * (CHARACTERS_AT_ONCE + 1)
    texts = ["a", half, half, half, over, "b", "c"]
    assert (await embedding(asked, texts).run()).ravel().tolist() == [len(text) for text in texts]
    assert [len(request.texts) for request in asked.requests] == [2, 2, 1, 2]


async def test_embedding_sends_a_long_list_in_parts_and_keeps_the_order() -> None:
    asked = Lengths()
    texts = ["a"] * TEXTS_AT_ONCE + ["bb"]
    work = embedding(asked, texts)
    assert (await work.run())[-2:].tolist() == [[1], [2]]
    assert [len(request.texts) for request in asked.requests] == [TEXTS_AT_ONCE, 1]
    assert (work.progress.done, work.progress.total) == (len(texts), len(texts))


async def test_embedding_warns_of_truncated_texts_by_their_index_in_the_list() -> None:
    texts = ["a"] * TEXTS_AT_ONCE + ["b", "too long"]
    with pytest.warns(UserWarning, match=f"Texts truncated at 5 tokens, by index: {TEXTS_AT_ONCE + 1}"):
        await embedding(Lengths(), texts).run()
