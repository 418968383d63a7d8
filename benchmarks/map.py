"""A model over the rows of a frame, beside what one would write by hand:

    python benchmarks/map.py [--quick] [--only rate,memory,ray] [--rows 1000000]

Our own provider (provider.py, a separate process) answers each request after 50 ms, or after 500 ms. *By hand* is an
asyncio loop with aiohttp, 64 requests in flight, that writes into a list; *map* is `Model.map` on a deployment of 4
workers with 16 slots, with and without the journal. They take turns, so that whatever else the machine does meets all;
figures are medians.
`ray` compares `Model.map` over a Ray Dataset with the HTTP processor of `ray.data.llm`, batches of 64 requests at once.
`memory` maps a million rows, which a stand-in for the deployment answers at once, in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from tables import machine, print_columns
from ways import ALIAS, Ways, private_ray, provider, say

SLOTS, WAIT_MS = 64, 50
WAITS_MS = {50: 1, 500: 4}
"""How long the provider takes, and by how much fewer rows there are: 50 ms show what a row costs here, half a second is
what a short answer of a model takes."""
ROWS, QUICK_ROWS = 6_000, 2_000
RAY_ROWS = 6_000
PROMPT = "wait:{wait} {text}"
ANSWER = "Hello from the provider."

Measured = tuple[float, float]
"""Rows a second, and microseconds of this process's CPU for each row."""


def timed(rows: int, work: Callable[[], object]) -> Measured:
    """Return how fast some work was."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return rows / (time.perf_counter() - wall), (time.process_time() - cpu) / rows * 1e6


# ---- by hand


def by_hand(url: str, frame: Any) -> list[str]:
    """Ask about each row as one would by hand."""
    return asyncio.run(
        _by_hand(url, [PROMPT.format(wait=wait, text=text) for wait, text in frame.itertuples(index=False)])
    )


async def _by_hand(url: str, prompts: list[str]) -> list[str]:
    import aiohttp

    answers = [""] * len(prompts)
    numbers = iter(range(len(prompts)))

    async def work(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            body = {"model": "tiny", "messages": [{"role": "user", "content": prompts[number]}]}
            async with session.post(f"{url}/chat/completions", json=body) as response:
                found = await response.json()
            answers[number] = found["choices"][0]["message"]["content"]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=SLOTS)) as session:
        await asyncio.gather(*(work(session) for _ in range(SLOTS)))
    return answers


# ---- the measurements


def frame_of(rows: int, mark: str, wait: int = WAIT_MS) -> Any:
    """Return rows that no other round has."""
    import pandas as pd

    return pd.DataFrame({"wait": wait, "text": [f"{mark} {number}" for number in range(rows)]})


def rates(url: str, rows: int, rounds: int) -> list[list[str]]:
    """Compare a map with a loop by hand, in turns, with a fast and with a usual provider."""
    lines = [["provider", "", "rows/s", "of by hand", "CPU us a row"]]
    for wait, fewer in WAITS_MS.items():
        lines += _rates(url, rows // fewer, rounds, wait)
    return lines


def _rates(url: str, rows: int, rounds: int, wait: int) -> list[list[str]]:
    import byzer_magic

    found: dict[str, list[Measured]] = {name: [] for name in ("by hand", "map", "map, journal")}
    model = byzer_magic.model(ALIAS)
    for number in range(rounds + 1):
        frame = frame_of(rows, f"{wait} ms, round {number}", wait)
        turns: dict[str, Callable[[], Any]] = {
            "by hand": lambda frame=frame: by_hand(url, frame),
            "map": lambda frame=frame: model.map(frame, PROMPT, journal=False),
            "map, journal": lambda frame=frame: model.map(frame, PROMPT),
        }
        for name, work in turns.items():
            measured = timed(rows, work)
            if number:  # the first one warms up
                found[name].append(measured)
    lines = []
    for name, measured in found.items():
        ratios = [each[0] / hand[0] for each, hand in zip(measured, found["by hand"], strict=True)]
        speed, cpu = (statistics.median(each[index] for each in measured) for index in range(2))
        lines.append([f"{wait} ms", name, f"{speed:,.0f}", f"x {statistics.median(ratios):.3f}", f"{cpu:.0f}"])
    return lines


def with_ray(url: str, rows: int, rounds: int) -> list[list[str]]:
    """Compare a map over a Ray Dataset with the HTTP processor of ray.data.llm, in turns."""
    import ray
    import ray.data
    from ray.data.llm import HttpRequestProcessorConfig, build_processor

    import byzer_magic
    from byzer_magic.runtime.cluster.auth_token import use_token
    from byzer_magic.runtime.cluster.loopback import spelled

    use_token()
    ray.init(address=spelled(byzer_magic.connect()), log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    config = HttpRequestProcessorConfig(
        url=f"{url}/chat/completions", concurrency=1, batch_size=SLOTS, headers={"Authorization": "Bearer sk-bench"}
    )

    def body(row: dict[str, Any]) -> dict[str, Any]:
        prompt = PROMPT.format(**row)
        return {"payload": {"model": "tiny", "messages": [{"role": "user", "content": prompt}]}}

    processor = build_processor(
        config, preprocess=body, postprocess=lambda row: {"o": row["http_response"]["choices"][0]["message"]["content"]}
    )
    model, found = byzer_magic.model(ALIAS), {"ray.data.llm": [], "map of a Dataset": []}  # type: ignore[var-annotated]
    for number in range(rounds):
        dataset = ray.data.from_pandas(frame_of(rows, f"ray {number}"))
        found["ray.data.llm"].append(timed(rows, lambda each=dataset: processor(each).materialize())[0])
        mapped = model.map(dataset, PROMPT, journal=False)
        found["map of a Dataset"].append(timed(rows, mapped.materialize)[0])
    ray.shutdown()
    lines = [["", "rows/s", "of ray.data.llm"]]
    for name, speeds in found.items():
        ratios = [speed / other for speed, other in zip(speeds, found["ray.data.llm"], strict=True)]
        lines.append([name, f"{statistics.median(speeds):,.0f}", f"x {statistics.median(ratios):.2f}"])
    return lines


def memory(rows: int) -> list[list[str]]:
    """Map many rows in a process of its own, whose memory is looked at."""
    lines = [["rows", "frame, MB", "peak above it, MB", "bytes a row", "us a row"]]
    for count in (rows // 10, rows):
        command = [sys.executable, __file__, "--child", str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        lines.append([f"{count:,}", *json.loads(done.stdout)])
    return lines


def child(rows: int) -> list[str]:
    """Map rows that are answered at once; return what that took."""
    from byzer_magic.capabilities import Capability
    from byzer_magic.client.manager import Manager
    from byzer_magic.client.model import Model
    from byzer_magic.stat import ModelStat, WorkerStat
    from byzer_magic.types import ChatChunk, Dispatched, Request

    class AtOnce(Manager):
        """Answers without a deployment."""

        def reach(self, alias: str, address: str = "auto") -> None:
            """Nothing has to be reached."""

        async def capabilities(self, _alias: str) -> frozenset[Capability]:
            return frozenset({Capability.CHAT})

        async def stat(self, alias: str) -> ModelStat:
            workers = [WorkerStat(0, free=SLOTS, limit=SLOTS, requests=0, errors=0, idle_seconds=0.0)]
            return ModelStat(
                model=alias, kind="saas/openai", strategy="lru", capabilities=["chat"], workers=workers,
                concurrency=SLOTS,
            )  # fmt: skip

        async def ask(self, _alias: str, _request: Request) -> AsyncIterator[Any]:
            yield Dispatched(0, 0.0)
            await asyncio.sleep(0)
            yield ChatChunk(ANSWER, finish="stop")

    model = Model("m", AtOnce())
    model.map(frame_of(100, "warm"), PROMPT, journal=False)
    before = _resident()
    frame = frame_of(rows, "row")
    with_frame = _resident()
    started = time.perf_counter()
    found = model.map(frame, PROMPT, journal=False)
    seconds = time.perf_counter() - started
    assert (found.response == ANSWER).all()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - with_frame
    return [f"{with_frame - before:.0f}", f"{peak:.0f}", f"{peak * 2**20 / rows:.0f}", f"{seconds / rows * 1e6:.0f}"]


def _resident() -> float:
    """Return the megabytes that this process has in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


# ---- the command line


def main() -> None:
    """Run what the command line asks for and print the tables."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds")
    parser.add_argument("--only", default="rate,ray,memory", help="some of rate,ray,memory")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the part memory")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child)))
        return
    started, before, parts = time.time(), os.getloadavg()[0], options.only.split(",")
    rows, rounds = (QUICK_ROWS, 3) if options.quick else (ROWS, 5)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # its journal goes with it
        if {"rate", "ray"} & {*parts}:
            with provider() as url, private_ray() as manager:
                ways = Ways(manager, url)
                ways.deploy(ALIAS, workers=4, cpus=0.001)
                for name, measure in (("rate", rates), ("ray", with_ray)):
                    if name in parts:
                        say(f"{name} ...")
                        print_columns(measure(url, rows if name == "rate" else min(rows, RAY_ROWS), rounds))
                        print()
    if "memory" in parts:
        say("memory ...")
        print_columns(memory(options.rows))
    print(f"\n{machine(before, time.time() - started)}")


if __name__ == "__main__":
    main()
