"""What requests that arrive together lose against one batch: `make bench-engines`, or

    python benchmarks/batching.py [--engine deepspeed] [--requests 8] [--deployed]

A real model on the CPU, in this process: N prompts in one `generate` of the engine itself, and the same N prompts as
requests of the backend, at once and a few milliseconds apart, as they arrive over a socket; in turns, side by side.
`--deployed` compares with a deployment on a private Ray, too.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ |= {"BYZER_ENGINE_THREADS": "1", "OMP_NUM_THREADS": "1"}

from overhead import Row, print_table
from tables import machine
from ways import private_ray, say

TOKENS = 64
APART_SECONDS = 0.005
PROMPT = "Tell me a long story about a king who had {} cats."
GOAL = 0.9


def plan(engine: str, requests: int) -> Any:
    """Return a plan of SmolLM2 in an engine."""
    from byzer_magic import default_manager
    from byzer_magic.commands.spec import DeploySpec
    from tests.models.smollm2 import smollm2

    return default_manager().plan(
        DeploySpec(
            model="batching",
            infer_backend=engine,
            model_path=str(smollm2()),
            worker_concurrency=requests,
            infer_params={"temperature": "0"},
        )
    )


def one_batch(model: Any, requests: int) -> float:
    """Return the tokens/s of one `generate` for all prompts."""
    import torch

    turns = [[{"role": "user", "content": PROMPT.format(number)}] for number in range(requests)]
    tokenizer = model.tokenizer
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    asked = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True, padding=True
    )
    started = time.perf_counter()
    with torch.inference_mode():
        model.generate(**asked, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False)
    return requests * TOKENS / (time.perf_counter() - started)


async def together(send: Callable[[Any], AsyncIterator[Any]], requests: int, apart: float) -> float:
    """Return the tokens/s of as many requests, each a moment after the other."""
    from byzer_magic.types import ChatRequest, Message

    async def one(number: int) -> int:
        await asyncio.sleep(number * apart)
        asked = ChatRequest(messages=[Message("user", PROMPT.format(number))], options={"max_tokens": TOKENS})
        usages = [getattr(chunk, "usage", None) async for chunk in send(asked)]
        return sum(usage.completion_tokens for usage in usages if usage)

    started = time.perf_counter()
    counts = await asyncio.gather(*map(one, range(requests)))
    return sum(counts) / (time.perf_counter() - started)


async def measure(engine: str, requests: int, rounds: int, manager: Any = None) -> list[Row]:
    """Return the rows of the table; with a manager, the model is deployed there."""
    made = plan(engine, requests)
    say("loading")
    backend = await made.backend.open(made.setup, lambda *_: None)
    model, found = backend._model, []
    ways = {
        "batch": lambda: asyncio.to_thread(one_batch, model, requests),
        "at once": lambda: together(backend.chat, requests, 0),
        "apart": lambda: together(backend.chat, requests, APART_SECONDS),
    }
    if manager:
        ways["deployed"] = lambda: asyncio.to_thread(
            manager.run, together(lambda asked: manager.ask("batching", asked), requests, 0)
        )
    try:
        for turn in range(1 + rounds):
            backend._batches.sizes.clear()
            order = list(ways) if turn % 2 else list(reversed(ways))
            speeds = {}
            for name in order:
                while backend._batches.running:  # its last rows are still leaving the model
                    await asyncio.sleep(0.01)
                speeds[name] = await ways[name]()
            say(f"turn {turn}: {speeds}, batches here of {backend._batches.sizes}")
            if turn:  # the first warms up
                found.append(speeds)
    finally:
        await backend.close()
    titles = {"at once": "at once", "apart": f"{APART_SECONDS * 1000:.0f} ms apart", "deployed": "to a deployment"}
    return [
        _row(f"{engine}, {requests} requests {title}", name, found) for name, title in titles.items() if name in ways
    ]


def _row(title: str, name: str, found: list[dict[str, float]]) -> Row:
    ratio = statistics.median(each[name] / each["batch"] for each in found)
    shown = [f"{statistics.median(each[key] for each in found):.1f}" for key in ("batch", name)]
    return Row(f"{title}: tokens/s", *shown, f"x {ratio:.3f}", f">= {GOAL}", ratio >= GOAL)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--engine", default="transformers", choices=("transformers", "deepspeed"))
    parser.add_argument("--requests", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--deployed", action="store_true", help="also through a deployment on a private Ray")
    options = parser.parse_args()
    started, before = time.time(), os.getloadavg()[0]
    given = (options.engine, options.requests, options.rounds)
    if options.deployed:
        with private_ray() as manager:
            for _event in manager.iterate(manager.deploy(plan(*given[:2]))):
                pass
            rows = asyncio.run(measure(*given, manager))
    else:
        rows = asyncio.run(measure(*given))
    print_table(rows, machine(before, time.time() - started))


if __name__ == "__main__":
    main()
