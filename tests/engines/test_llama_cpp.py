"""llama.cpp with a real model, through both of its drivers."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.local.llama_cpp import load as llama_load
from byzer_magic.backends.local.llama_cpp.driver_xllamacpp import SETTINGS, apply
from byzer_magic.backends.local.llama_cpp.params import CONTEXT, LOADING
from byzer_magic.types import ENDLESS
from tests.backends import FREE_TURNS, ask, closing_stops_it, collect, opened, setup_of, text_of, turns_per_item
from tests.models.gguf_qwen2 import qwen2_gguf
from tests.models.gguf_split import base
from tests.models.tiny_qwen2 import tiny_qwen2

KIND = "custom/auto@llama_cpp"
LLAMA = registry.find("custom/auto", "llama_cpp")
QUESTION = "What is the capital of France? Answer in one sentence."
STORY = "Tell a long story about a cat and a dog."
OBJECTS = {"self", "model_path", "chat_handler", "draft_model", "tokenizer", "kwargs"}
"""Parameters of `llama_cpp.Llama` that no text can express, or that are `--model_path`."""

pytestmark = pytest.mark.engine


@pytest.fixture(params=list(llama_load.DRIVERS))
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def backend(driver: str, gguf: Path) -> AsyncIterator[Any]:
    params = {"driver": driver, "n_threads": "1", "n_ctx": "1024", "temperature": "0"}
    backend = await opened(KIND, params, model_path=str(gguf))
    yield backend
    await backend.close()


async def test_chat_returns_a_response(backend: Any) -> None:
    chunks = await collect(backend, ask(QUESTION))
    assert text_of(chunks) == "The capital of France is Paris."
    assert [chunk.finish for chunk in chunks if chunk.finish] == ["stop"]
    usage = [chunk.usage for chunk in chunks if chunk.usage]
    assert [(use.prompt_tokens, use.completion_tokens) for use in usage] == [(42, 8)]
    assert len(chunks) > 5, "token by token"


async def test_base_model_without_a_limit_is_noted(driver: str, backend: Any) -> None:
    assert not any(ENDLESS.items() <= (chunk.extra or {}).items() for chunk in await collect(backend, ask(QUESTION)))
    params = {"driver": driver, "n_threads": "1", "n_ctx": "64", "temperature": "0"}
    model = await opened(KIND, params, model_path=str(base()))
    async with aclosing(model.chat(ask("Once"))) as chunks:
        first = [await anext(chunks) for _ in range(4)]
    assert sum(ENDLESS.items() <= (chunk.extra or {}).items() for chunk in first) == 1
    limited = await collect(model, ask("Once", max_tokens=3))
    assert not any(ENDLESS.items() <= (chunk.extra or {}).items() for chunk in limited)
    await model.close()


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_chat_respects_max_tokens(backend: Any, name: str) -> None:
    chunks = await collect(backend, ask(STORY, **{name: 3}))
    assert [chunk.finish for chunk in chunks if chunk.finish] == ["length"]
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [3]


async def test_chat_returns_complete_characters(backend: Any) -> None:
    text = text_of(await collect(backend, ask("Repeat exactly: 😀 日本語", max_tokens=30)))
    assert "😀" in text
    assert "\ufffd" not in text


async def test_chat_streams_on_after_bytes_that_are_no_text(driver: str) -> None:
    """Such as a model of random weights writes, or one at a high temperature."""
    params = {"driver": driver, "n_threads": "1", "n_ctx": "512", "temperature": "0"}
    model = await opened(KIND, params, model_path=str(qwen2_gguf()))
    no_text = json.loads((tiny_qwen2() / "tokenizer.json").read_text())["model"]["vocab"]["ÿ"]  # the byte 0xff
    chunks = await collect(model, ask("Hi", logit_bias={str(no_text): 100}, max_tokens=20))
    assert set(text_of(chunks)) == {"\ufffd"}
    assert sum(bool(chunk.text) for chunk in chunks) > 5, "as they are generated"
    await model.close()


async def test_close_stops_the_model_and_leaves_it_ready(backend: Any) -> None:
    await closing_stops_it(backend, ask(STORY))
    assert text_of(await collect(backend, ask(QUESTION))) == "The capital of France is Paris."


async def test_chat_cancelled_returns_when_the_model_is_free(backend: Any) -> None:
    task = asyncio.create_task(collect(backend, ask(STORY)))
    await asyncio.sleep(0.5)
    started = time.process_time()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # an impatient second one must not leave the thread behind
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.process_time() - started < 2
    assert not backend._turns.running
    assert text_of(await collect(backend, ask(QUESTION))) == "The capital of France is Paris."


async def test_chat_runs_one_request_per_slot(backend: Any) -> None:
    answers = await asyncio.gather(*(collect(backend, ask(QUESTION)) for _ in range(3)))
    assert [text_of(chunks) for chunks in answers] == ["The capital of France is Paris."] * 3


async def test_chat_leaves_the_event_loop_responsive(backend: Any) -> None:
    turns = await turns_per_item(backend.chat(ask(STORY, max_tokens=30)))
    assert turns > FREE_TURNS, "the GIL is free while tokens are computed"


async def test_chat_refuses_a_prompt_that_is_too_long(backend: Any) -> None:
    with pytest.raises(errors.ContextTooLong, match=r"has \d{4} tokens, but the context length is 1024") as caught:
        await collect(backend, ask("word " * 3000))
    assert caught.value.details["n_ctx"] == 1024


async def test_chat_refuses_an_invalid_request(backend: Any) -> None:
    with pytest.raises(errors.BadRequest):
        await collect(backend, ask(QUESTION, temperature="hot"))
    assert text_of(await collect(backend, ask(QUESTION))) == "The capital of France is Paris."


async def test_chat_can_be_cancelled_between_prompt_batches(driver: str, gguf: Path) -> None:
    params = {"driver": driver, "n_threads": "1", "n_ctx": "4096", "n_batch": "64", "n_ubatch": "64"}
    backend = await opened(KIND, params, model_path=str(gguf))
    task = asyncio.create_task(collect(backend, ask("word " * 2500)))
    await asyncio.sleep(0.5)
    started = time.process_time()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    print(f"{driver} left a prompt after {time.process_time() - started:.1f} s")
    assert time.process_time() - started < 3, "not the 20 s that the whole prompt takes"
    assert "Paris" in text_of(await collect(backend, ask(QUESTION, temperature=0)))
    await backend.close()


async def test_chat_slots_of_one_server_work_in_parallel(gguf: Path) -> None:
    params = {"driver": "xllamacpp", "n_threads": "1", "n_ctx": "512", "temperature": "0"}
    backend = await opened(KIND, params, model_path=str(gguf), concurrency=2)
    seen: list[int] = []

    async def read(number: int) -> None:
        async for _ in backend.chat(ask(STORY, max_tokens=15)):
            seen.append(number)  # noqa: PERF401 - the order between the two is the point

    await asyncio.gather(read(0), read(1))
    assert seen != sorted(seen), "their tokens alternate"
    await backend.close()


async def test_deployment_parameters_are_defaults_of_requests(driver: str, gguf: Path) -> None:
    params = {"driver": driver, "n_threads": "1", "n_ctx": "512", "temperature": "0", "stop": " is", "max_tokens": "2"}
    backend = await opened(KIND, params, model_path=str(gguf))
    assert text_of(await collect(backend, ask(QUESTION))) == "The capital"
    assert text_of(await collect(backend, ask(QUESTION, max_tokens=20))) == "The capital of France"
    await backend.close()


async def test_chat_names_unknown_options(backend: Any) -> None:
    with pytest.raises(errors.BadRequest, match="no option 'temprature'") as caught:
        await collect(backend, ask(QUESTION, temprature=0))
    assert caught.value.hint == "Did you mean temperature?"


def test_load_reads_the_context_from_the_file(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BYZER_ENGINE_THREADS", raising=False)
    _, load = llama_load.load_of(setup_of(LLAMA, {}, model_path=str(gguf)))
    assert (load.settings["n_ctx"], load.longest) == (CONTEXT, 8192)
    _, load = llama_load.load_of(setup_of(LLAMA, {"n_ctx": "0"}, model_path=str(gguf), cpus=2.5))
    assert (load.settings["n_ctx"], load.settings["n_threads"]) == (8192, 2)


def test_threads_of_a_cpu_share_are_all_cores(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("BYZER_ENGINE_THREADS", raising=False)
    _, load = llama_load.load_of(setup_of(LLAMA, {}, model_path=str(gguf), cpus=0.001))
    assert load.settings["n_threads"] == len(os.sched_getaffinity(0))


def test_params_have_every_parameter_of_llama() -> None:
    llama = importlib.import_module("llama_cpp")
    theirs = set(inspect.signature(llama.Llama.__init__).parameters) - OBJECTS
    assert set(LOADING) == theirs
    assert theirs >= SETTINGS


def test_guide_command_works(gguf: Path) -> None:
    setup = setup_of(LLAMA, {"verbose": "true", "num_gpu_layers": "0"}, model_path=str(gguf))
    assert setup.params["verbose"] is True
    assert setup.params["n_gpu_layers"] == 0


@pytest.mark.parametrize(("gpus", "layers"), [(0, 0), (0.5, -1), (1, -1)])
def test_layers_are_on_a_reserved_gpu(gpus: float, layers: int, gguf: Path) -> None:
    """In the parameters of llama.cpp itself; -1 stands for all."""
    _name, load = llama_load.load_of(setup_of(LLAMA, {"driver": "xllamacpp"}, model_path=str(gguf), gpus=gpus))
    xllamacpp = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    apply(xllamacpp, params, load.settings)
    assert params.n_gpu_layers == layers
    some = setup_of(LLAMA, {"n_gpu_layers": "7"}, model_path=str(gguf), gpus=gpus)
    assert llama_load.load_of(some)[1].settings["n_gpu_layers"] == 7


async def test_check_refuses_what_xllamacpp_does_not_support(gguf: Path) -> None:
    with pytest.raises(errors.BadParameter, match="xllamacpp has no parameter logits_all") as caught:
        setup_of(LLAMA, {"driver": "xllamacpp", "logits_all": "true"}, model_path=str(gguf))
    assert "driver=llama-cpp-python" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pooling_type", "9"), ("n_batch", "0"), ("n_ctx", "-1"), ("n_threads", "0"), ("type_k", "99"),
        ("split_mode", "7"), ("vocab_only", "true"), ("numa", '"x"'), ("tensor_split", "5"), ("kv_overrides", "[1]"),
        ("lora_path", "/nowhere.gguf"),
    ],
)  # fmt: skip
def test_check_refuses_values_that_would_crash(gguf: Path, name: str, value: str) -> None:
    with pytest.raises(errors.BadParameter) as caught:
        setup_of(LLAMA, {name: value}, model_path=str(gguf))
    assert name in caught.value.message or "nowhere" in caught.value.message
    assert caught.value.hint


async def test_chat_fills_a_context_between_two_units(driver: str) -> None:
    params = {"driver": driver, "n_threads": "1", "n_ctx": "260", "temperature": "0"}
    backend = await opened(KIND, params, model_path=str(qwen2_gguf()))
    chunks = await collect(backend, ask("word " * 60, grammar='root ::= "word " root'))
    usage = chunks[-1].usage
    assert usage
    assert usage.total_tokens >= 511, "more than 260: llama.cpp rounds up"
    assert [chunk.finish for chunk in chunks if chunk.finish] == ["length"]
    with pytest.raises(errors.ContextTooLong, match="the context length is 512"):
        await collect(backend, ask("word " * 600))
    await backend.close()


async def test_open_refuses_an_unknown_chat_format(gguf: Path) -> None:
    with pytest.raises(errors.BadParameter, match="no chat_format 'chatmll'") as caught:
        await opened(KIND, {"driver": "llama-cpp-python", "chat_format": "chatmll"}, model_path=str(gguf))
    assert caught.value.hint == "Did you mean chatml?"


async def test_lora_changes_the_model(driver: str, gguf: Path, tmp_path: Path) -> None:
    output = []
    for size in (0.0, 4.0):
        path = _lora(tmp_path / f"{size}.gguf", size)
        params = {"driver": driver, "n_threads": "1", "n_ctx": "512", "temperature": "0", "lora_path": str(path)}
        backend = await opened(KIND, params, model_path=str(gguf))
        output.append(text_of(await collect(backend, ask(QUESTION, max_tokens=10))))
        await backend.close()
    assert output[0] == "The capital of France is Paris."
    assert output[1] != output[0]
    path = _lora(tmp_path / "other.gguf", 1.0, width=64)
    with pytest.raises(errors.EngineFailed):
        await opened(KIND, {"driver": driver, "n_threads": "1", "lora_path": str(path)}, model_path=str(gguf))
    with pytest.raises(errors.BadParameter, match="is not a LoRA adapter"):
        setup_of(LLAMA, {"lora_path": str(gguf)}, model_path=str(gguf))


def _lora(path: Path, size: float, width: int = 576) -> Path:
    gguf_py = importlib.import_module("gguf")
    writer = gguf_py.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 1.0)
    random = np.random.default_rng(1)
    for part, shape in (("lora_a", (1, width)), ("lora_b", (width, 1))):
        writer.add_tensor(f"blk.0.attn_q.weight.{part}", (random.normal(size=shape) * size).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


async def test_xllamacpp_accepts_each_of_its_settings(gguf: Path) -> None:
    params = {
        "driver": "xllamacpp", "n_threads": "1", "n_threads_batch": "1", "n_ctx": "256", "n_batch": "128",
        "n_ubatch": "64", "n_gpu_layers": "0", "main_gpu": "0", "split_mode": "1", "tensor_split": "[1.0]",
        "seed": "7", "rope_scaling_type": "-1", "pooling_type": "-1", "attention_type": "-1", "type_k": "1",
        "type_v": "1", "flash_attn": "false", "numa": "false", "offload_kqv": "true", "op_offload": "true",
        "swa_full": "false", "no_perf": "true", "use_mmap": "false", "use_mlock": "false", "rope_freq_base": "0",
        "rope_freq_scale": "0", "yarn_ext_factor": "-1", "yarn_attn_factor": "1", "yarn_beta_fast": "32",
        "yarn_beta_slow": "1", "yarn_orig_ctx": "0", "last_n_tokens_size": "64", "embedding": "false",
    }  # fmt: skip
    assert set(params) - {"driver"} == SETTINGS - {"lora_path", "lora_scale", "verbose"}
    backend = await opened(KIND, params, model_path=str(gguf))
    assert text_of(await collect(backend, ask("Hi", max_tokens=2)))
    await backend.close()


def test_driver_name_names_a_missing_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(errors.MissingExtra) as caught:
        llama_load.driver_name({"driver": "llama-cpp-python"})
    assert "byzer-magic[llama-cpp-python]" in caught.value.hint
    with pytest.raises(errors.MissingExtra, match="llama-cpp-python or xllamacpp is not installed"):
        llama_load.driver_name({})
