"""DeepSpeed's inference engine on CPUs: in one process, and split over two."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from byzer_magic import errors
from byzer_magic.backends import registry
from tests.backends import ask, closing_stops_it, collect, opened, setup_of, text_of
from tests.models.smollm2 import smollm2
from tests.models.tiny_qwen2 import tiny_qwen2
from tests.waiting import PATIENCE

KIND = "custom/auto@deepspeed"
DEEPSPEED = registry.find("custom/auto", "deepspeed")
QUESTION = "What is the capital of France? Answer in one sentence."
ANSWER = "The capital of France is Paris."
STORY = "Tell a long story about a cat and a dog."
ROOT = Path(__file__).parents[2]
WORKERS = """
import asyncio, os, sys
import deepspeed
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2ForCausalLM
from byzer_magic.backends.local.deepspeed import rank_processes
from tests.backends import opened
async def main():
    backend = await opened("custom/auto@deepspeed", {"tp_size": "2"}, model_path=sys.argv[1])
    print("ready", os.getpid(), backend._model.lockstep._processes[0].pid, flush=True)
    await asyncio.sleep(100)
os.fork()
asyncio.run(main())
"""
"""Two workers of two processes each, the first of which import what takes long only once; print their numbers."""

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["1", "2"])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """SmolLM2 in one process, then in two."""
    started = time.monotonic()
    params = {"temperature": "0", "tp_size": request.param}
    backend = await opened(KIND, params, model_path=str(smollm2()), concurrency=4)
    print(f"{request.param} processes ready after {time.monotonic() - started:.1f} s")
    yield backend
    await backend.close()


async def test_chat_streams_token_by_token(backend: Any) -> None:
    started = time.monotonic()
    chunks = await collect(backend, ask(QUESTION))
    print(f"answered in {time.monotonic() - started:.1f} s")
    assert text_of(chunks) == ANSWER
    assert (chunks[-1].finish, chunks[-1].usage.completion_tokens) == ("stop", 8)
    assert [chunk.text for chunk in chunks[:3]] == ["The", " capital", " of"]


async def test_chat_batches_requests_that_end_separately(backend: Any) -> None:
    wanted = [{"max_tokens": 2}, {"stop": " is"}, {}]
    answers = await asyncio.gather(*(collect(backend, ask(QUESTION, **options)) for options in wanted))
    assert [text_of(chunks) for chunks in answers] == ["The capital", "The capital of France", ANSWER]
    assert max(backend._batches.sizes) > 1


async def test_chat_samples_the_same_in_all_processes(backend: Any) -> None:
    options = {"temperature": 1.5, "seed": 3, "max_tokens": 6}
    first, same = [text_of(await collect(backend, ask(STORY, **options))) for _ in range(2)]
    assert first == same
    assert text_of(await collect(backend, ask(STORY, **{**options, "seed": 4}))) != first
    assert (await collect(backend, ask(STORY, temperature=1, max_tokens=3)))[-1].finish == "length"


async def test_close_stops_the_model_and_leaves_it_ready(backend: Any) -> None:
    await closing_stops_it(backend, ask(STORY))
    assert text_of(await collect(backend, ask(QUESTION))) == ANSWER


async def test_chat_refuses_a_prompt_that_is_too_long(backend: Any) -> None:
    with pytest.raises(errors.ContextTooLong, match=r"has 9\d{3} tokens, but the context length is 8192"):
        await collect(backend, ask("word " * 9500))


async def test_processes_end_together() -> None:
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    env = {**os.environ, "PYTHONPATH": path, "DS_ACCELERATOR": "cpu"}
    command = [sys.executable, "-c", WORKERS, str(tiny_qwen2())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as worker, contextlib.ExitStack() as end:
        end.callback(worker.kill)
        assert worker.stdout
        ready = (line.split()[1:] for line in worker.stdout if line.startswith("ready"))
        pairs = [[psutil.Process(int(pid)) for pid in next(ready)] for _ in range(2)]
        pairs.sort(key=lambda pair: pair[0].pid == worker.pid)
        [[other, orphan], [_, follower]] = pairs
        other.kill()
        follower.kill()
        _, left = psutil.wait_procs([orphan, follower], timeout=PATIENCE)
        assert not left
        assert worker.wait(PATIENCE) == 1


@pytest.mark.parametrize(
    ("params", "more", "words", "hint"),
    [
        ({"replace_with_kernel_inject": "true"}, {}, "no kernels for CPUs", "--gpus_per_worker 1"),
        ({"tp_size": "2"}, {"gpus": 1.0}, "worker has 1 GPUs", "--gpus_per_worker 2"),
        ({"tp_size": "3"}, {}, "has 2 attention heads", "smaller tp_size"),
        ({"tp_size": "0"}, {}, "tp_size is 0", ""),
        ({"init_inference": "[]"}, {}, "not a JSON object", "use_triton"),
        ({"device_map": "auto"}, {}, "no parameter 'device_map'", ""),
        ({"replace_with_kernel_injec": "true"}, {}, "no parameter", "Did you mean replace_with_kernel_inject?"),
    ],
)
async def test_check_refuses_parameters_that_cannot_work(
    params: dict[str, str], more: dict[str, Any], words: str, hint: str
) -> None:
    with pytest.raises(errors.BadParameter, match=words) as caught:
        setup_of(DEEPSPEED, params, model_path=str(tiny_qwen2()), **more)
    assert hint in caught.value.hint


async def test_split_follows_the_gpus() -> None:
    from byzer_magic.backends.local.deepspeed.backend import split

    assert split(setup_of(DEEPSPEED, {}, model_path=str(tiny_qwen2()), gpus=2.0)) == 2
    assert split(setup_of(DEEPSPEED, {}, model_path=str(tiny_qwen2()), gpus=0.5)) == 1
    assert split(setup_of(DEEPSPEED, {"backend.tensor_parallel_size": "2"}, model_path=str(tiny_qwen2()))) == 2


async def test_open_has_the_reason_of_deepspeed() -> None:
    with pytest.raises(errors.EngineFailed, match=r"DeepSpeed cannot run .*no_such_thing"):
        await opened(KIND, {"init_inference": json.dumps({"no_such_thing": 1})}, model_path=str(tiny_qwen2()))
    with pytest.raises(errors.EngineFailed, match="not been implemented on CPU"):
        await opened(KIND, {"init_inference": '{"kernel_inject": true}'}, model_path=str(smollm2()))


async def test_require_names_the_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(errors.MissingExtra, match="needs the package deepspeed") as caught:
        registry.require(DEEPSPEED.info)
    assert "pip install 'byzer-magic[deepspeed]'" in caught.value.hint
