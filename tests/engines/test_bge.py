"""EmbeddingBatch and ranks by sentence-transformers: a real MiniLM, and small models made as BGE's are."""

from __future__ import annotations

import asyncio
import json
import shutil
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
from byzer_magic.backends.custom import bge as module
from byzer_magic.capabilities import Capability
from byzer_magic.client.collect import collector_for
from byzer_magic.local_models import files
from byzer_magic.types import EmbedRequest, RerankRequest, Truncation
from tests.backends import opened, setup_of
from tests.models import bge as models

KIND, RANK = "custom/bge", "custom/bge_rerank"
PAIRS = (
    ("A cat sits on the mat.", "A kitten is on the rug."),
    ("How do I reset my password?", "I forgot my login credentials."),
)
OTHER = "The stock market fell sharply today."
QUERY = "where does the cat sit"

pytestmark = [
    pytest.mark.engine,
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def minilm() -> AsyncIterator[Any]:
    backend = await opened(KIND, {}, model_path=str(models.minilm()), concurrency=10)
    yield backend
    await backend.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tiny() -> AsyncIterator[Any]:
    """The random BGE, four texts at once."""
    backend = await opened(KIND, {"backend.batch_size": "4"}, model_path=str(models.bge()))
    yield backend
    await backend.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ranker() -> AsyncIterator[Any]:
    backend = await opened(RANK, {"batch_size": "4"}, model_path=str(models.reranker()))
    yield backend
    await backend.close()


async def embed(backend: Any, texts: list[str], **options: Any) -> Any:
    """Return the complete result; check that its parts are consecutive."""
    complete = collector_for("m", request := EmbedRequest(texts=texts, options=options))
    done = 0
    async for item in backend.embed(request):
        assert item.start == done
        done += item.rows
        complete.add(item)
    return complete.result()


async def rank(backend: Any, query: str, documents: list[str], **options: Any) -> Any:
    request = RerankRequest(query=query, documents=documents, options=options)
    [item] = [item async for item in backend.rerank(request)]
    return item


def by_hand(texts: list[str], pooling: str = "cls", limit: int = models.CONTEXT) -> Any:
    """Return what transformers alone computes with the random BGE, text by text."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(models.bge())
    network = AutoModel.from_pretrained(models.bge()).eval()
    rows = []
    with torch.no_grad():
        for text in texts:
            states = network(**tokenizer(text, return_tensors="pt", truncation=True, max_length=limit))[0][0]
            rows.append((states[0] if pooling == "cls" else states.mean(dim=0)).numpy())
    return np.array(rows)


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def scores_by_hand(query: str, documents: list[str]) -> Any:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(models.reranker())
    network = AutoModelForSequenceClassification.from_pretrained(models.reranker()).eval()
    with torch.no_grad():
        # lists, because a lone empty text would be taken for none
        pairs = [tokenizer([query], [text], return_tensors="pt", truncation=True, max_length=64) for text in documents]
        return np.array([float(network(**pair).logits[0, 0]) for pair in pairs])


# ---- embeddings


async def test_embed_related_texts_are_near(minilm: Any) -> None:
    assert minilm.capabilities() == {Capability.EMBED}
    found = await embed(minilm, [text for pair in PAIRS for text in pair] + [OTHER])
    table = found.vectors @ found.vectors.T
    print(np.round(table, 3))
    assert found.vectors.shape == (5, 384)
    assert np.diag(table) == pytest.approx([1] * 5, abs=1e-5)
    assert table[0, 1] > 0.5
    assert table[2, 3] > 0.5
    assert np.abs(np.r_[table[4, :4], table[0, 2], table[1, 3]]).max() < 0.1
    assert found.usage.prompt_tokens == 45
    assert str(found) == "5 embeddings, 384 dimensions"


@pytest.mark.parametrize("pooling", ["cls", "mean"])
async def test_embed_of_a_bare_folder_uses_cls_pooling(pooling: str) -> None:
    params = {} if pooling == "cls" else {"pooling": pooling}
    texts = [*PAIRS[0], OTHER, "", "x"]
    for normal in (True, False):
        given = params if normal else params | {"normalize": "false"}
        backend = await opened(KIND, given, model_path=str(models.bge()))
        found = await embed(backend, texts)
        await backend.close()
        known = by_hand(texts, pooling)
        np.testing.assert_allclose(found.vectors, unit(known) if normal else known, atol=2e-6)


async def test_embed_keeps_order_and_counts_over_batches(tiny: Any) -> None:
    texts = [f"{number} " * (1 + number * 7 % 11) for number in range(75)]
    found = await embed(tiny, texts)
    np.testing.assert_allclose(found.vectors, unit(by_hand(texts)), atol=2e-6)
    items = [item async for item in tiny.embed(EmbedRequest(texts=texts))]
    assert [item.rows for item in items] == [4] * 18 + [3]
    assert found.usage.prompt_tokens == sum(3 + number * 7 % 11 for number in range(75))
    assert [item async for item in tiny.embed(EmbedRequest(texts=[]))] == []


async def test_embed_names_truncated_texts(tiny: Any) -> None:
    texts = ["short"] * 5 + ["cat " * 62, "cat " * 63] + ["short"] * 5 + ["cat " * 500]
    found = await embed(tiny, texts)
    assert found.truncated == Truncation([6, 12], 64), "62 words and two marks just fit"
    assert str(found) == "13 embeddings, 32 dimensions; 2 texts were truncated at 64 tokens"
    np.testing.assert_allclose(found.vectors, unit(by_hand(texts)), atol=2e-6)
    assert found.usage.prompt_tokens == 10 * 3 + 3 * 64
    shorter = await opened(KIND, {"max_seq_length": "16"}, model_path=str(models.bge()))
    truncated = await embed(shorter, ["cat " * 15, "cat " * 14])
    await shorter.close()
    assert truncated.truncated == Truncation([0], 16)
    assert str(truncated.truncated) == "1 text was truncated at 16 tokens"
    np.testing.assert_allclose(truncated.vectors, unit(by_hand(["cat " * 15, "cat " * 14], limit=16)), atol=2e-6)


async def test_embed_prefixes_queries_only(tiny: Any) -> None:
    plain, asked = unit(by_hand([QUERY])), unit(by_hand([module.ENGLISH + QUERY]))
    for options in ({}, {"input_type": "document"}, {"input_type": "passage"}, {"encoding_format": "base64"}):
        np.testing.assert_allclose((await embed(tiny, [QUERY], **options)).vectors, plain, atol=2e-6)
    np.testing.assert_allclose((await embed(tiny, [QUERY], input_type="query")).vectors, asked, atol=2e-6)
    for more in ({}, {"input_type": "query"}):
        found = await embed(tiny, [QUERY], query_instruction="Find: ", **more)
        np.testing.assert_allclose(found.vectors, unit(by_hand([f"Find: {QUERY}"])), atol=2e-6)
    assert (await embed(tiny, ["cat " * 60], input_type="query")).truncated == Truncation([0], 64), "it takes room"


async def test_embed_takes_the_instruction_of_the_model(tmp_path: Path) -> None:
    def prefix_of(name: str, params: dict[str, Any] | None = None, prompts: Any = None, **config: Any) -> str:
        folder = tmp_path / name
        shutil.copytree(models.bge(), folder, dirs_exist_ok=True)
        known = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(known | config))
        if prompts is not None:
            (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
        return module.instruction(files.inspect(str(folder)), params or {})

    assert prefix_of("bge-large-en") == prefix_of("zhang-model") == module.ENGLISH
    assert prefix_of("bge-large-zh-v1.5") == prefix_of("mine", vocab_size=21128) == module.CHINESE
    assert prefix_of("m3", model_type="xlm-roberta") == ""
    assert prefix_of("own-zh", prompts={"query": "q: ", "document": ""}) == "q: "
    assert prefix_of("saved-zh", prompts={"query": "", "document": ""}) == module.CHINESE
    assert prefix_of("bge-zh", {"query_instruction": ""}) == ""


async def test_embed_with_fewer_dimensions(tiny: Any) -> None:
    found = await embed(tiny, [*PAIRS[0]], dimensions=8)
    np.testing.assert_allclose(found.vectors, unit(by_hand([*PAIRS[0]])[:, :8]), atol=2e-6)


@pytest.mark.parametrize(
    ("options", "words", "hint"),
    [
        ({"dimensions": 33}, "dimensions is 33, but the maximum is 32", ""),
        ({"dimensions": 0}, "dimensions is 0", ""),
        ({"dimensions": "8"}, "dimensions is '8'", ""),
        ({"dimension": 8}, "no option 'dimension'", "Did you mean dimensions?"),
        ({"input_type": "querry"}, "input_type is 'querry'", "Did you mean query?"),
        ({"input_type": "document", "query_instruction": "x"}, "input_type is document", "Leave"),
        ({"query_instruction": 7}, "query_instruction is 7", ""),
    ],
)
async def test_embed_refuses_invalid_options(tiny: Any, options: dict[str, Any], words: str, hint: str) -> None:
    with pytest.raises(errors.BadRequest) as caught:
        await embed(tiny, ["x"], **options)
    assert words in caught.value.message
    assert hint in caught.value.hint


async def test_embed_close_stops_between_batches(minilm: Any) -> None:
    texts = [f"cat {number} " * 60 for number in range(2000)]
    started = time.process_time()
    async with aclosing(minilm.embed(EmbedRequest(texts=texts))) as items:
        task = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0.3)
        others = [asyncio.create_task(embed(minilm, [OTHER])) for _ in range(3)]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    took = time.process_time() - started
    print(f"stopped after {took:.1f} s")
    assert took < 10, "not the minutes that all of them take"
    assert [len(found) for found in await asyncio.gather(*others)] == [1, 1, 1]
    assert not minilm._turns.running


# ---- ranks


async def test_rerank_scores_are_those_of_the_model(ranker: Any) -> None:
    assert ranker.capabilities() == {Capability.RERANK}
    documents = [*PAIRS[0], OTHER, *PAIRS[1], "", "cat " * 200, "x", "mat"]
    found = await rank(ranker, QUERY, documents)
    raw = scores_by_hand(QUERY, documents)
    print(np.round(raw, 3))
    assert np.ptp(raw) > 0.05, "the documents differ"
    assert [index for index, _ in found.order] == np.argsort(-raw, kind="stable").tolist()
    known = 1 / (1 + np.exp(-raw))
    assert [score for _, score in found.order] == pytest.approx(np.sort(known)[::-1], abs=1e-5)
    best = await rank(ranker, QUERY, documents, top_n=2)
    assert [index for index, _ in best.order] == [index for index, _ in found.order[:2]]
    assert (await rank(ranker, QUERY, [])).order == []
    assert (await rank(ranker, "cat", ["mat", "cat " * 200])).usage.prompt_tokens == 5 + 64
    assert found.truncated == Truncation([6], 64)
    assert best.truncated == Truncation([6], 64), "it might have been among the best"
    plain = await opened(RANK, {"normalize": "false"}, model_path=str(models.reranker()))
    found = await rank(plain, QUERY, documents)
    await plain.close()
    assert [score for _, score in found.order] == pytest.approx(np.sort(raw)[::-1], abs=1e-5)


@pytest.mark.parametrize("options", [{"top_n": 0}, {"top_n": "two"}, {"topn": 2}])
async def test_rerank_refuses_invalid_options(ranker: Any, options: dict[str, Any]) -> None:
    with pytest.raises(errors.BadRequest, match=r"top_n is|no option 'topn'\.\nDid you mean top_n\?"):
        await rank(ranker, QUERY, ["x"], **options)


async def test_rerank_cancelled_leaves_the_model_ready(ranker: Any) -> None:
    task = asyncio.create_task(rank(ranker, QUERY, ["cat " * 60] * 20000))
    await asyncio.sleep(0.5)
    started = time.process_time()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.process_time() - started < 2
    assert len((await rank(ranker, QUERY, ["x"])).order) == 1


# ---- what cannot be deployed


@pytest.mark.parametrize(
    ("kind", "folder", "params", "words"),
    [
        (KIND, models.reranker, {}, "custom/bge_rerank"),
        (RANK, models.bge, {}, "--pretrained_model_type custom/bge."),
        (KIND, models.minilm, {"pooling": "cls"}, "modules.json defines"),
        (KIND, models.bge, {"max_seq_length": "65"}, "supports 64 tokens"),
        (KIND, models.bge, {"batch_size": "0"}, "batch_size is 0"),
        (KIND, models.bge, {"poling": "cls"}, "Did you mean pooling?"),
        (RANK, models.reranker, {"max_length": "1"}, "max_length is 1"),
    ],
)
async def test_check_refuses_what_cannot_work(kind: str, folder: Any, params: dict[str, str], words: str) -> None:
    with pytest.raises(errors.BadParameter) as caught:
        setup_of(registry.find(kind), params, model_path=str(folder()))
    assert words in str(caught.value)


async def test_open_refuses_missing_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(models.bge(), tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        errors.EngineFailed, match=r"lacks 1 of 37 weights of a BertModel, which would be random: encoder\.layer\.1"
    ):
        await opened(KIND, {}, model_path=str(tmp_path))


async def test_open_refuses_a_missing_device() -> None:
    with pytest.raises(errors.BadParameter, match="device is 'cuda:7'"):
        await opened(KIND, {"device": "cuda:7"}, model_path=str(models.bge()))


async def test_open_reports_its_stages(tmp_path: Path) -> None:
    stages: list[str] = []
    backend = registry.find(KIND)
    setup = setup_of(backend, {"dtype": "bfloat16"}, model_path=str(models.bge()))
    found = await backend.open(setup, lambda stage, *_: stages.append(stage))
    embeddings = (await embed(found, [*PAIRS[0]])).vectors
    await found.close()
    assert stages[:2] == ["importing sentence-transformers", f"loading {models.bge().name}"]
    assert np.sum(embeddings * unit(by_hand([*PAIRS[0]])), axis=1) == pytest.approx([1, 1], abs=0.01)
