"""What a deployment adds to an engine used in process, measured side by side with real models: `make bench-engines`, or

    python benchmarks/engines.py [--quick] [--only vllm,llama_cpp,load]

The same prompts go to the engine itself, in this process by the engine's own API, and to the same engine deployed on
a private Ray, in turns. `load` compares `deploy` with a fresh process that imports the engine and loads the model.
Models: SmolLM2-135M (tests/models makes them of a package), 1 thread per engine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ |= {"BYZER_ENGINE_THREADS": "1", "OMP_NUM_THREADS": "1"}

from overhead import Row, print_table
from processes import megabytes
from tables import machine
from ways import private_ray, say

TOKENS = 64
STREAMS = 16
FIRSTS = 10
"""Requests whose first token is timed in a round of one stream."""
PROMPT = "Tell me a long story about a king who had {} cats."
PARAMS = {
    "vllm": {"backend.max_model_len": "512", "backend.dtype": "float32", "temperature": "0"},
    "llama_cpp": {"driver": "llama-cpp-python", "n_ctx": "512", "temperature": "0"},
}
GOAL, FIRST_MS, LOAD_SECONDS = 0.97, 2.0, 2.0

Ask = Callable[[int, int], AsyncIterator[Any]]
"""Asks with the prompt of that number for a number of tokens; yields an item per token: its time, where it is known."""


def spec(engine: str) -> Any:
    """Return what is deployed, and opened in process."""
    from byzer_magic.commands.spec import DeploySpec
    from tests.models.smollm2 import smollm2, smollm2_gguf

    path = smollm2() if engine == "vllm" else smollm2_gguf()
    return DeploySpec(
        model=engine, infer_backend=engine, model_path=str(path), infer_params=PARAMS[engine],
        worker_concurrency=STREAMS if engine == "vllm" else 1, cpus_per_worker=0.001,
    )  # fmt: skip


async def direct_vllm(backend: Any) -> Ask:
    """Return vLLM's own `generate`, with the prompt as its chat template writes it."""
    import itertools

    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    engine, numbers, delta = backend._running.engine, itertools.count(), RequestOutputKind.DELTA
    tokenizer = engine.get_tokenizer()

    async def ask(number: int, tokens: int) -> AsyncIterator[Any]:
        sampling = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True, output_kind=delta)
        turns = [{"role": "user", "content": PROMPT.format(number)}]
        prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        async for output in engine.generate(prompt, sampling, f"direct-{next(numbers)}"):
            yield output

    return ask


async def direct_llama(backend: Any) -> Ask:
    """Return llama-cpp-python's own chat completion, read to its end in a thread."""
    llama = backend._driver._llama

    def read(number: int, tokens: int) -> list[float]:
        turns = [{"role": "user", "content": PROMPT.format(number)}]
        answer = llama.create_chat_completion(turns, temperature=0, max_tokens=tokens, stream=True)
        return [time.perf_counter() for chunk in answer if chunk["choices"][0]["delta"].get("content")]

    async def ask(number: int, tokens: int) -> AsyncIterator[Any]:
        for moment in await asyncio.to_thread(read, number, tokens):
            yield moment

    return ask


DIRECT = {"vllm": direct_vllm, "llama_cpp": direct_llama}


def deployed(manager: Any, alias: str) -> Ask:
    """Return the way through the deployment."""
    from byzer_magic.types import ChatRequest, Message

    fixed_length = {"ignore_eos": True} if alias == "vllm" else {}

    async def ask(number: int, tokens: int) -> AsyncIterator[Any]:
        options = {"max_tokens": tokens} | fixed_length
        request = ChatRequest(messages=[Message("user", PROMPT.format(number))], options=options)
        async for item in manager.ask(alias, request):
            if getattr(item, "text", ""):
                yield item

    return ask


async def speed(ask: Ask, streams: int) -> tuple[float, float]:
    """Return pieces per second of concurrent streams, and the median time to the first (ms)."""
    first: list[float] = []
    count = 0

    async def one(number: int, tokens: int) -> None:
        nonlocal count
        started, seen = time.perf_counter(), False
        async for item in ask(number, tokens):
            count += 1
            if not seen:
                moment = item if isinstance(item, float) else time.perf_counter()
                first.append((moment - started) * 1000)
                seen = True

    if streams == 1:  # one after the other: a single first token is not representative
        for number in range(FIRSTS):
            await one(number, 2)
    count, started = 0, time.perf_counter()
    await asyncio.gather(*(one(number, TOKENS) for number in range(streams)))
    return count / (time.perf_counter() - started), statistics.median(first)


def throughput(manager: Any, engine: str, rows: list[Row], *, quick: bool) -> None:
    """Compare tokens/s and time to first token, with one stream and, where the engine batches, with 16."""
    say(f"{engine}: deploying")
    events = list(manager.iterate(manager.deploy(manager.plan(spec(engine)))))
    pool = next(event.pid for event in events if hasattr(event, "pid"))
    plan = manager.plan(spec(engine))
    say(f"{engine}: opening it here")
    backend = manager.run(plan.backend.open(plan.setup, lambda *_: None))
    ways = {"direct": manager.run(DIRECT[engine](backend)), "deployed": deployed(manager, engine)}
    for streams in (1, STREAMS) if engine == "vllm" else (1,):
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for turn in range(1 + (5 if quick else 10)):
            for name, ask in ways.items() if turn % 2 else reversed(ways.items()):
                figures = manager.run(speed(ask, streams))
                if turn:  # the first warms up
                    found[name].append(figures)
        at = {name: [statistics.median(each) for each in zip(*figures, strict=True)] for name, figures in found.items()}
        title = f"{engine}, {streams} stream{'s'[: streams != 1]}"
        ratio = statistics.median(b[0] / a[0] for a, b in zip(found["direct"], found["deployed"], strict=True))
        later = statistics.median(b[1] - a[1] for a, b in zip(found["direct"], found["deployed"], strict=True))
        shown = [(f"{a:.1f}", f"{b:.1f}") for a, b in zip(at["direct"], at["deployed"], strict=True)]
        rows.append(Row(f"{title}: tokens/s", *shown[0], f"x {ratio:.3f}", f">= {GOAL}", ratio >= GOAL))
        goal = (f"<= +{FIRST_MS}", later <= FIRST_MS) if streams == 1 else ("", None)
        rows.append(Row(f"{title}: first token, ms", *shown[1], f"{later:+.2f}", *goal))
    worker = manager.run(manager.stat(engine)).workers[0].pid
    rows.append(Row(f"{engine}: memory, MB: pool | engine", "", f"{megabytes(pool):.0f} | {family_mb(worker):.0f}"))
    manager.run(backend.close())
    remove(manager, engine)


def family_mb(pid: int) -> float:
    """Return the memory of a process and all its descendants."""
    from byzer_magic.runtime.cluster.node import descendants

    return sum(megabytes(each) for each in descendants(pid))


def remove(manager: Any, alias: str) -> None:
    from byzer_magic.commands.spec import UndeploySpec

    manager.run(manager.undeploy(UndeploySpec(model=alias, force=True)))


LOAD = """
import asyncio, sys, time
started = time.perf_counter()
sys.path[:0] = {paths!r}
from engines import spec
from byzer_magic import default_manager
plan = default_manager().plan(spec({engine!r}))
async def load():
    backend = await plan.backend.open(plan.setup, lambda *_: None)
    print("LOADED", time.perf_counter() - started, flush=True)
    await backend.close()
asyncio.run(load())
"""


def loading(manager: Any, engine: str, rows: list[Row], *, quick: bool) -> None:
    """Compare `deploy` with a fresh process that imports the engine and loads the model."""
    here = str(Path(__file__).parent)
    code = LOAD.format(paths=[here, str(Path(here).parent)], engine=engine)
    own, ours = [], []
    for turn in range(1 + (2 if quick else 4)):
        say(f"{engine}: loading, turn {turn}")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        started = time.perf_counter()
        list(manager.iterate(manager.deploy(manager.plan(spec(engine)))))
        seconds = time.perf_counter() - started
        remove(manager, engine)
        if turn:  # the first fills the system's cache
            own.append(float(done.stdout.partition("LOADED")[2].split()[0]))
            ours.append(seconds)
    more = statistics.median(b - a for a, b in zip(own, ours, strict=True))
    shown = [f"{statistics.median(each):.1f}" for each in (own, ours)]
    met = more <= LOAD_SECONDS
    rows.append(Row(f"{engine}: load | deploy to ready, s", *shown, f"{more:+.2f}", f"<= +{LOAD_SECONDS}", met))


def main() -> None:
    """Run what the command line asks for and print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds: about six minutes")
    parser.add_argument("--only", default="vllm,llama_cpp,load", help="some of vllm,llama_cpp,load")
    options = parser.parse_args()
    wanted = options.only.split(",")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that Ray goes away then, too
    started, before, rows = time.time(), os.getloadavg()[0], []
    engines = [engine for engine in PARAMS if engine in wanted] or list(PARAMS)
    with private_ray() as manager:
        try:
            for engine in engines:
                if engine in wanted:
                    throughput(manager, engine, rows, quick=options.quick)
                if "load" in wanted:
                    loading(manager, engine, rows, quick=options.quick)
        finally:
            print_table(rows, machine(before, time.time() - started))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
