"""EmbeddingBatch and ranks by llama.cpp, through its drivers: a real MiniLM, and a chat model that embeds."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.local.llama_cpp import load as llama_load
from byzer_magic.capabilities import Capability
from byzer_magic.types import EmbedRequest, RerankRequest
from tests.backends import FREE_TURNS, opened, setup_of, turns_per_item
from tests.models.gguf_bert import QUERY, TEXTS, expected, minilm

KIND = "custom/auto@llama_cpp"
LLAMA = registry.find("custom/auto", "llama_cpp")

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=list(llama_load.DRIVERS))
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """MiniLM; that it embeds is in the file."""
    params = {"driver": request.param, "n_threads": "1"}
    backend = await opened(KIND, params, model_path=str(minilm() / "embed.gguf"))
    yield backend
    await backend.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ranker() -> AsyncIterator[Any]:
    """MiniLM with a head that scores; the driver is chosen because of it."""
    backend = await opened(KIND, {"n_threads": "1"}, model_path=str(minilm() / "rerank.gguf"))
    yield backend
    await backend.close()


async def embeddings(backend: Any, texts: list[str], **options: Any) -> tuple[Any, list[Any]]:
    items = [item async for item in backend.embed(EmbedRequest(texts=texts, options=options))]
    starts = [item.start for item in items]
    assert starts == [0, *np.cumsum([item.rows for item in items])[:-1]]
    table = np.frombuffer(b"".join(item.data for item in items), dtype="<f4").reshape(-1, items[0].dimensions)
    return table, items


async def test_embed_returns_the_embeddings_of_the_model(backend: Any) -> None:
    assert backend.capabilities() == {Capability.EMBED}
    found, [item] = await embeddings(backend, list(TEXTS))
    known = np.array(expected()["vectors"])
    assert found.shape == (3, 384)
    assert np.sum(found * known, axis=1) == pytest.approx([1, 1, 1], abs=1e-4)
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert found[0] @ found[1] > 0.5 > 0.2 > found[0] @ found[2], "the related pair is near, the unrelated far"
    assert item.usage.prompt_tokens == 27


async def test_embed_batches_many_texts_in_order(backend: Any) -> None:
    texts = [f"{TEXTS[number % 3]} {number}" for number in range(70)]
    found, items = await embeddings(backend, texts)
    assert [item.rows for item in items] == [32, 32, 6]
    alone, _ = await embeddings(backend, [texts[66]])
    assert found[66] @ alone[0] == pytest.approx(1, abs=1e-3)
    longer, items = await embeddings(backend, ["word " * 400, "word " * 400, "word " * 400])
    assert len(items) == 2, "long ones in smaller batches"
    assert longer[0] @ longer[2] == pytest.approx(1, abs=1e-3)


async def test_embed_without_normalization(backend: Any) -> None:
    found, _ = await embeddings(backend, [TEXTS[0]], embd_normalize=-1)
    assert np.linalg.norm(found[0]) > 1.5


async def test_embed_refuses_a_text_that_is_too_long(backend: Any) -> None:
    with pytest.raises(errors.ContextTooLong, match="A text has 2002 tokens, but the context length is 512"):
        await embeddings(backend, [TEXTS[0], "word " * 2000])
    found, _ = await embeddings(backend, [TEXTS[0]])
    assert found[0] @ np.array(expected()["vectors"][0]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("texts", "options", "words"),
    [
        (["a", ""], {}, "Text 2 of 2 is empty"),
        (["a"], {"dimensions": 12}, "no option 'dimensions'"),
        (["a"], {"embd_normalize": 7}, "embd_normalize is 7"),
    ],
)
async def test_embed_refuses_invalid_requests(
    backend: Any, texts: list[str], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(errors.BadRequest, match=words):
        await embeddings(backend, texts, **options)


async def test_embed_can_be_cancelled_between_batches(backend: Any) -> None:
    request = EmbedRequest(texts=["word " * 500] * 60)
    started = time.process_time()
    async with aclosing(backend.embed(request)) as items:
        await anext(items)
        first = time.process_time() - started
        started = time.process_time()
    print(f"a batch takes {first:.2f} s, left after {time.process_time() - started:.2f} s")
    assert time.process_time() - started < 2 * first + 1
    found, _ = await embeddings(backend, [TEXTS[0]])
    assert len(found) == 1


async def test_embed_leaves_the_event_loop_responsive(backend: Any) -> None:
    assert await turns_per_item(backend.embed(EmbedRequest(texts=list(TEXTS) * 30))) > FREE_TURNS


@pytest.mark.parametrize("driver", list(llama_load.DRIVERS))
async def test_embed_with_a_chat_model(driver: str, gguf: Path) -> None:
    params = {"driver": driver, "n_threads": "1", "n_ctx": "256", "embedding": "true"}
    backend = await opened(KIND, params, model_path=str(gguf))
    assert backend.capabilities() == {Capability.EMBED}
    found, [item] = await embeddings(backend, list(TEXTS))
    assert found.shape == (3, 576)
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert found[0] @ found[1] > found[0] @ found[2]
    long, _ = await embeddings(backend, ["word " * 250])
    assert len(long) == 1, "a text as long as the context is read at once"
    assert item.usage.prompt_tokens > 10
    await backend.close()


async def test_drivers_return_the_same_embeddings(gguf: Path) -> None:
    found = []
    for driver in llama_load.DRIVERS:
        params = {"driver": driver, "n_threads": "1", "n_ctx": "256", "embedding": "true"}
        backend = await opened(KIND, params, model_path=str(gguf))
        found.append((await embeddings(backend, list(TEXTS)))[0])
        await backend.close()
    assert np.sum(found[0] * found[1], axis=1) == pytest.approx([1, 1, 1], abs=0.01)


async def test_rerank_sorts_by_score(ranker: Any) -> None:
    assert ranker.capabilities() == {Capability.RERANK}
    [ranking] = [item async for item in ranker.rerank(RerankRequest(query=QUERY, documents=list(TEXTS)))]
    scores = dict(ranking.order)
    assert [scores[index] for index in range(3)] == pytest.approx(expected()["scores"], abs=0.05)
    assert [score for _, score in ranking.order] == sorted(scores.values(), reverse=True)
    assert ranking.usage.prompt_tokens == 48
    request = RerankRequest(query=QUERY, documents=list(TEXTS) * 30, options={"top_n": 2})
    [best] = [item async for item in ranker.rerank(request)]
    assert len(best.order) == 2
    assert {index % 3 for index, _ in best.order} == {ranking.order[0][0]}


async def test_rerank_refuses_invalid_requests(ranker: Any) -> None:
    for request, kind, words in (
        (RerankRequest(query=QUERY, documents=["word " * 2000]), errors.ContextTooLong, "A text has 2009 tokens"),
        (RerankRequest(query="", documents=["a"]), errors.BadRequest, "Text 1 of 2 is empty"),
        (RerankRequest(query=QUERY, documents=["a"], options={"topn": 1}), errors.BadRequest, "no option 'topn'"),
    ):
        with pytest.raises(kind, match=words):
            [item async for item in ranker.rerank(request)]


@pytest.mark.parametrize(
    ("params", "model", "words"),
    [
        ({"driver": "llama-cpp-python"}, "rerank.gguf", "llama-cpp-python does not support reranking"),
        ({"pooling_type": "0"}, "embed.gguf", "pooling_type=0 returns an embedding per token"),
        ({"clip_model_path": "x.gguf"}, "embed.gguf", "clip_model_path cannot be used with an embedding model"),
    ],
)
async def test_check_refuses_what_cannot_work(params: dict[str, str], model: str, words: str) -> None:
    with pytest.raises(errors.BadParameter, match=words):
        setup_of(LLAMA, params, model_path=str(minilm() / model))
