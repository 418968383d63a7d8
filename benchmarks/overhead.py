"""What a deployment adds to a direct call, measured side by side: `make bench`, or

    python benchmarks/overhead.py [--quick] [--only rest,load,streams,deploy,kill] [--json FILE]

A provider of our own (provider.py, a process of its own) answers on loopback. The same prompts go to it *direct*
(the backend, opened in this process) and *deployed* (the same backend in a pool on a private Ray), in turns, so that
whatever else the machine does meets both. `typed SDK` is the SDK's ordinary typed client, for comparison.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byzer_magic.manager import Manager

PARTS = ("rest", "load", "streams", "deploy", "kill")
IN_FLIGHT, WAIT_MS = 64, 50
TOKENS, RATE = 100, 50
ROUND_SECONDS = 60.0
ALIAS = "bench"

Way = Callable[[str, bool], AsyncIterator[str]]
"""Sends a prompt one way, streamed or whole, and yields the answer's texts."""
Samples = dict[str, list[float]]


@dataclass
class Row:
    """One line of the table."""

    measure: str
    direct: str
    deployed: str
    compared: str = ""
    goal: str = ""
    met: bool | None = None


@dataclass
class Bench:
    """What all measurements need."""

    manager: Manager
    url: str
    quick: bool
    ways: dict[str, Way] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def add(self, *row: Any) -> None:
        self.rows.append(Row(*row))

    def rounds(self, full: int, quick: int) -> int:
        return quick if self.quick else full


def main() -> None:
    """Run what the command line asks for and print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds: about a minute")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    if unknown := set(options.only.split(",")) - set(PARTS):
        parser.error(f"unknown part: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that Ray goes away then, too
    started, load = time.time(), os.getloadavg()[0]
    with provider() as url, private_ray() as manager:
        bench = Bench(manager, url, options.quick)
        try:
            for part in PARTS:
                if part in options.only.split(","):
                    say(f"{part} ...")
                    MEASURES[part](bench)
        finally:  # an interrupted run shows what it has
            about = machine(load, time.time() - started)
            print_table(bench.rows, about)
            if options.json:
                options.json.write_text(json.dumps({"machine": about, "rows": [asdict(row) for row in bench.rows]}))


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


# ---- what is measured with


@contextlib.contextmanager
def provider() -> Iterator[str]:
    """Yield the base URL of a running provider; it ends with this process, however that ends."""
    command = [sys.executable, str(Path(__file__).with_name("provider.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"


@contextlib.contextmanager
def private_ray() -> Iterator[Manager]:
    """Yield a manager with a Ray of its own, which is gone afterwards."""
    folder = tempfile.mkdtemp(prefix="bz", dir="/tmp")  # short: Ray puts Unix sockets below it
    for name in ("RAY_ADDRESS", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID"):
        os.environ.pop(name, None)
    os.environ |= {"RAY_TMPDIR": folder, "BYZER_LOCAL_CPUS": "4", "BYZER_START_SECONDS": "120"}
    from byzer_magic import default_manager  # Ray reads the environment when it is imported

    manager = default_manager()
    manager.say = say
    try:
        manager.ensure()
        yield manager
    finally:
        manager.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def open_ways(bench: Bench) -> dict[str, Way]:
    """Return the ways to the provider, opened; `deployed` makes the deployment when there is none."""
    if not bench.ways:
        deploy(bench, ALIAS, workers=4, cpus=0.001)
        bench.ways = {
            "direct": bench.manager.run(direct_way(bench)),
            "deployed": deployed_way(bench.manager),
            "typed SDK": bench.manager.run(sdk_way(bench.url)),
        }
        for way in bench.ways.values():
            bench.manager.run(load(way, 2 * IN_FLIGHT))  # opens the connections
    return bench.ways


def plan_of(bench: Bench, alias: str, workers: int, cpus: float) -> Any:
    from byzer_magic.spec import DeploySpec

    params = {"saas.base_url": bench.url, "saas.model": "tiny", "saas.api_key": "sk-bench"}
    spec = DeploySpec(
        model=alias, pretrained_model_type="saas/openai", num_workers=workers, worker_concurrency=16,
        cpus_per_worker=cpus, infer_params=params,
    )  # fmt: skip
    return bench.manager.plan(spec)


def deploy(bench: Bench, alias: str, workers: int, cpus: float) -> tuple[float, int]:
    """Deploy; return how long it took, and the pool's pid."""
    started = time.perf_counter()
    events = list(bench.manager.iterate(bench.manager.deploy(plan_of(bench, alias, workers, cpus))))
    seconds = time.perf_counter() - started
    return seconds, next(event.pid for event in events if hasattr(event, "pid"))


def undeploy(bench: Bench, alias: str) -> None:
    from byzer_magic.spec import UndeploySpec

    bench.manager.run(bench.manager.undeploy(UndeploySpec(model=alias, force=True)))


def request(prompt: str, *, stream: bool) -> Any:
    from byzer_magic.types import ChatRequest, Message

    return ChatRequest(messages=[Message("user", prompt)], stream=stream)


async def direct_way(bench: Bench) -> Way:
    """Return the very backend of the deployment, opened in this process."""
    plan = plan_of(bench, ALIAS, 4, 0)
    backend: Any = await plan.backend.open(plan.setup, lambda *_: None)

    async def ask(prompt: str, stream: bool) -> AsyncIterator[str]:  # noqa: FBT001 - two kinds of request
        async for chunk in backend.chat(request(prompt, stream=stream)):
            yield chunk.text

    return ask


def deployed_way(manager: Manager) -> Way:
    async def ask(prompt: str, stream: bool) -> AsyncIterator[str]:  # noqa: FBT001 - two kinds of request
        async for item in manager.chat(ALIAS, request(prompt, stream=stream)):
            yield getattr(item, "text", "")

    return ask


async def sdk_way(url: str) -> Way:
    import openai

    client = openai.AsyncOpenAI(api_key="sk-bench", base_url=url, http_client=openai.DefaultAioHttpClient())

    async def ask(prompt: str, stream: bool) -> AsyncIterator[str]:  # noqa: FBT001 - two kinds of request
        messages: Any = [{"role": "user", "content": prompt}]
        if not stream:
            yield (await client.chat.completions.create(model="tiny", messages=messages)).choices[
                0
            ].message.content or ""
            return
        async for chunk in await client.chat.completions.create(model="tiny", messages=messages, stream=True):
            yield chunk.choices[0].delta.content or ""

    return ask


# ---- the measurements


def at_rest(bench: Bench) -> None:
    """One request in flight, answered at once: the ways take turns, 25 requests each."""
    import byzer_magic

    ways = open_ways(bench)
    model = byzer_magic.model(ALIAS)
    median: dict[str, list[tuple[float, float]]] = {}
    with asyncio.Runner() as runner:  # achat is called from a loop of the caller's
        for _ in range(bench.rounds(5, 3)):
            samples: Samples = {}
            for _ in range(bench.rounds(20, 10)):
                for name, way in ways.items():
                    samples.setdefault(name, []).extend(bench.manager.run(sequence(way, 25)))
                samples.setdefault("achat", []).extend(runner.run(asks(model, 25)))
                samples.setdefault("chat", []).extend(timed(lambda: model.chat("hi"), 25))
            for name, found in samples.items():
                median.setdefault(name, []).append((quantile(found, 0.5), quantile(found, 0.99)))
    at = {name: [statistics.median(column) for column in zip(*pairs, strict=True)] for name, pairs in median.items()}
    labels = {"deployed": "Manager.chat", "achat": "model.achat", "chat": "model.chat (sync)", "typed SDK": "typed SDK"}
    for index, (title, goal) in enumerate((("p50", 0.35), ("p99", 1.5))):
        for name, label in labels.items():
            added = at[name][index] - at["direct"][index]
            judged = (f"+{goal:g}", added <= goal) if name == "deployed" else ("", None)
            bench.add(f"1 at rest, {title} ms: {label}", f"{at['direct'][index]:.2f}", f"{at[name][index]:.2f}",
                      f"{added:+.2f}", *judged)  # fmt: skip


async def sequence(way: Way, count: int) -> list[float]:
    """Return how many ms each of `count` requests took, one after the other."""
    found = []
    for _ in range(count):
        started = time.perf_counter()
        async for _ in way("hi", False):
            pass
        found.append((time.perf_counter() - started) * 1000)
    return found


async def asks(model: Any, count: int) -> list[float]:
    found = []
    for _ in range(count):
        started = time.perf_counter()
        await model.achat("hi")
        found.append((time.perf_counter() - started) * 1000)
    return found


def timed(call: Callable[[], object], count: int) -> list[float]:
    found = []
    for _ in range(count):
        started = time.perf_counter()
        call()
        found.append((time.perf_counter() - started) * 1000)
    return found


def under_load(bench: Bench) -> None:
    """64 requests in flight, each answered after 50 ms."""
    found: Samples = {}
    for _ in range(bench.rounds(7, 3)):
        for name, way in open_ways(bench).items():
            count = (10 if name == "typed SDK" else 20) * IN_FLIGHT
            found.setdefault(name, []).append(bench.manager.run(load(way, count)))
    at = {name: statistics.median(speeds) for name, speeds in found.items()}
    for name in ("deployed", "typed SDK"):
        ratio = at[name] / at["direct"]
        judged = (">= 0.90", ratio >= 0.9) if name == "deployed" else ("", None)
        bench.add(f"{IN_FLIGHT} in flight, {WAIT_MS} ms, requests/s: {name}", f"{at['direct']:,.0f}",
                  f"{at[name]:,.0f}", f"x {ratio:.2f}", *judged)  # fmt: skip


async def load(way: Way, count: int) -> float:
    """Return requests per second of `count` requests, 64 in flight at all times."""

    async def one_after_the_other() -> None:
        for _ in range(count // IN_FLIGHT):
            async for _ in way(f"wait:{WAIT_MS}", False):
                pass

    started = time.perf_counter()
    async with asyncio.timeout(ROUND_SECONDS):
        await asyncio.gather(*(one_after_the_other() for _ in range(IN_FLIGHT)))
    return count / (time.perf_counter() - started)


def in_streams(bench: Bench) -> None:
    """64 streams at once, 50 tokens a second each: how much longer they take, how much later tokens come."""
    walls: Samples = {}
    delays: dict[str, list[tuple[float, float]]] = {}
    for _ in range(bench.rounds(7, 3)):
        for name, way in open_ways(bench).items():
            wall, late = bench.manager.run(streams(way))
            walls.setdefault(name, []).append(wall)
            delays.setdefault(name, []).append((quantile(late, 0.5), quantile(late, 0.99)))
    wall = {name: statistics.median(found) for name, found in walls.items()}
    at = {name: [statistics.median(column) for column in zip(*pairs, strict=True)] for name, pairs in delays.items()}
    title = f"{IN_FLIGHT} streams at {RATE} tokens/s"
    for name in ("deployed", "typed SDK"):
        ours = name == "deployed"
        ratio, added = wall[name] / wall["direct"], at[name][1] - at["direct"][1]
        bench.add(f"{title}, wall s (ideal {TOKENS / RATE:.2f}): {name}", f"{wall['direct']:.2f}", f"{wall[name]:.2f}",
                  f"x {ratio:.3f}", *(("<= 1.08", ratio <= 1.08) if ours else ()))  # fmt: skip
        bench.add(f"{title}, token delay p50 ms: {name}", f"{at['direct'][0]:.2f}", f"{at[name][0]:.2f}",
                  f"{at[name][0] - at['direct'][0]:+.2f}")  # fmt: skip
        bench.add(f"{title}, token delay p99 ms: {name}", f"{at['direct'][1]:.2f}", f"{at[name][1]:.2f}",
                  f"{added:+.2f}", *(("+2", added <= 2) if ours else ()))  # fmt: skip


async def streams(way: Way) -> tuple[float, list[float]]:
    """Return how long 64 streams took together, and how late (ms) each token came after it was sent."""
    late: list[float] = []

    async def listen() -> int:
        count = 0
        async for text in way(f"tokens:{TOKENS}@{RATE}", True):
            if text:
                late.append((time.monotonic_ns() - int(text)) / 1e6)
                count += 1
        return count

    started = time.perf_counter()
    async with asyncio.timeout(ROUND_SECONDS):
        counts = await asyncio.gather(*(listen() for _ in range(IN_FLIGHT)))
    assert counts == [TOKENS] * IN_FLIGHT, counts
    return time.perf_counter() - started, late


def deploying(bench: Bench) -> None:
    """How long 1 and 1,000 workers take, and what memory they need."""
    kinds = ((1, 0.001), (1000, 0.001), (1000, 0.0))
    seconds: dict[Any, list[float]] = {kind: [] for kind in kinds}
    memory: dict[Any, list[float]] = {kind: [] for kind in kinds}
    for _ in range(bench.rounds(4, 2)):
        for kind in kinds:
            took, pid = deploy(bench, "bench-deploy", *kind)
            seconds[kind].append(took)
            memory[kind].append(megabytes(pid, "Pss"))
            undeploy(bench, "bench-deploy")
    for (workers, cpus), found in seconds.items():
        title = f"deploy {workers:,} workers, {cpus:g} CPU each, s (worst)"
        bench.add(title, "", f"{statistics.median(found):.2f} ({max(found):.2f})")
    small, large = (statistics.median(memory[kind]) for kind in kinds[:2])
    bench.add("memory of the pool, MB PSS: 1 / 1,000 workers", "", f"{small:.1f} / {large:.1f}",
              f"{(large - small) * 1024 / 999:+.1f} KB/worker")  # fmt: skip


def megabytes(pid: int, what: str) -> float:
    """Return a process's memory; `Pss` counts what it shares with others in part only."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) / 1024


def killing(bench: Bench) -> None:
    """`kill -9` the pool: how long until the alias answers again, asked by someone who just tries again."""
    import byzer_magic
    from byzer_magic.errors import RequestError
    from byzer_magic.runtime.registry import actor_of, endpoint_of

    open_ways(bench)
    model = byzer_magic.model(ALIAS)
    found = []
    for _ in range(bench.rounds(4, 2)):
        os.kill(bench.manager.run(endpoint_of(actor_of(ALIAS))).pid, signal.SIGKILL)
        started, answered = time.perf_counter(), False
        while not answered and time.perf_counter() - started < ROUND_SECONDS:
            with contextlib.suppress(RequestError):
                answered = bool(model.chat("hi", timeout=10).text)
            time.sleep(0.01)
        found.append(time.perf_counter() - started)
    bench.add("kill -9 of the pool to the next answer, s (worst)", "",
              f"{statistics.median(found):.2f} ({max(found):.2f})", "", "<= 3", max(found) <= 3)  # fmt: skip


MEASURES = {"rest": at_rest, "load": under_load, "streams": in_streams, "deploy": deploying, "kill": killing}

# ---- the table


def quantile(values: Sequence[float], part: float) -> float:
    return sorted(values)[int(len(values) * part)]


def machine(load_before: float, seconds: float) -> str:
    """Return one line on where and how this ran."""
    cpu = next((line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    return (
        f"{os.cpu_count()} x {cpu}, {platform.system()}, Python {platform.python_version()}; "
        f"load average {load_before:.1f} before, {os.getloadavg()[0]:.1f} after {seconds:.0f} s"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def print_table(rows: list[Row], about: str) -> None:
    met = {True: "yes", False: "NO", None: ""}
    cells = [["measure", "direct", "deployed", "compared", "goal", "met"]]
    cells += [[row.measure, row.direct, row.deployed, row.compared, row.goal, met[row.met]] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(6)]
    for number, line in enumerate(cells):
        print("  ".join([line[0].ljust(widths[0]), *(line[i].rjust(widths[i]) for i in range(1, 6))]).rstrip())
        if not number:
            print("  ".join("-" * width for width in widths))
    print(f"\n{about}")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
