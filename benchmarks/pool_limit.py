"""How many notebooks one pool process can serve, and what more processes would give (decision 012).

    python benchmarks/pool_limit.py [--rounds 3] [--seconds 4]

A private Ray has a deployment of our own provider. 64 connections, as 64 notebooks have, ask it at once; the CPU time
of the pool's process tells how many requests a second one core of it serves, whatever else the machine does. A stand-in
for an owner of the slots in a process of its own is asked for slots, to see what each request would pay for it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from ways import ALIAS, Ways, private_ray, provider, request, say

if TYPE_CHECKING:
    from byzer_magic.runtime.transport.client import Link

NOTEBOOKS = 64
RATE = 50
"""Tokens per second of a stream."""
DEMANDS = {
    "requests back to back": "hi",
    "requests of 50 ms": "wait:50",
    "requests of 1 s": "wait:1000",
    f"streams of {RATE} tokens/s": f"tokens:{RATE}@{RATE}",
}
PROCESSES = (1, 2, 4, 8)
WORKERS, SLOTS = 4, 16


def cpu_of(pid: int) -> float:
    """Return the CPU seconds that a process has used so far."""
    used = psutil.Process(pid).cpu_times()
    return used.user + used.system


async def repeated(work: Callable[[], Awaitable[int]], seconds: float) -> int:
    """Do something again and again for so many seconds; return the sum of what it returns."""
    ends = time.perf_counter() + seconds
    total = 0
    while time.perf_counter() < ends:
        total += await work()
    return total


# ---- the pool


async def asked(link: Link, prompt: str) -> int:
    """Ask once; return how many pieces came."""
    stream = prompt.startswith("tokens")
    texts = [getattr(item, "text", "") async for item in link.stream("chat", request(prompt, stream=stream))]
    return sum(map(bool, texts)) if stream else 1


async def measured(links: list[Link], pid: int, prompt: str, seconds: float) -> tuple[float, float, float]:
    """Return requests (or tokens) a second, the pool's share of a core, and its CPU microseconds for each."""
    before, started = cpu_of(pid), time.perf_counter()
    counts = await asyncio.gather(*(repeated(partial(asked, link, prompt), seconds) for link in links))
    took, used = time.perf_counter() - started, cpu_of(pid) - before
    return sum(counts) / took, used / took, used / sum(counts) * 1e6


def pool(rounds: int, seconds: float) -> dict[str, list[float]]:
    """Measure all demands in turns; return their medians."""
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in DEMANDS}
    with provider() as url, private_ray() as manager:
        _, pid = Ways(manager, url).deploy(ALIAS, WORKERS, 0.001)
        links = [manager.run(manager.connection.open_link(ALIAS)) for _ in range(NOTEBOOKS)]
        manager.run(measured(links, pid, "hi", 1.0))  # connections and imports
        for _ in range(rounds):
            for name, prompt in DEMANDS.items():
                say(f"{NOTEBOOKS} notebooks, {name} ...")
                found[name].append(manager.run(measured(links, pid, prompt, seconds)))
        for link in links:
            manager.run(link.close())
    return {name: [statistics.median(figure) for figure in zip(*all_, strict=True)] for name, all_ in found.items()}


# ---- an owner of the slots in a process of its own

MESSAGE = 9
"""Bytes of a message: what is wanted, and the number of the request."""


class Peer(asyncio.Protocol):
    """One end of a Unix socket with messages of one size, as many in a write as there are in a turn of the loop."""

    def __init__(self, take: Callable[[Peer, bytes, int], None]) -> None:
        self._take = take
        self._received = b""
        self._unsent: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        data = self._received + data
        whole = len(data) - len(data) % MESSAGE
        for place in range(0, whole, MESSAGE):
            self._take(self, data[place : place + 1], int.from_bytes(data[place + 1 : place + MESSAGE], "big"))
        self._received = data[whole:]

    def send(self, what: bytes, number: int) -> None:
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(what + number.to_bytes(MESSAGE - 1, "big"))

    def _flush(self) -> None:
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()


async def own(path: str) -> None:
    """Own the slots until stdin ends."""
    from byzer_magic.routing.table import Grant, SlotTable

    table = SlotTable(WORKERS, SLOTS)
    askers: dict[int, Peer] = {}

    def grant(grants: list[Grant]) -> None:
        for each in grants:
            askers.pop(each.ticket).send(b"g", each.ticket)

    def take(peer: Peer, what: bytes, number: int) -> None:
        if what == b"a":
            askers[number] = peer
            found = table.acquire(number, time.monotonic())
            grant([found] if found else [])
        else:
            grant(table.release(number, time.monotonic()))

    loop = asyncio.get_running_loop()
    await loop.create_unix_server(lambda: Peer(take), path)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@contextlib.asynccontextmanager
async def owner() -> AsyncIterator[tuple[Callable[[], Awaitable[int]], int]]:
    """Yield a function that takes and returns a slot, and the owner's pid."""
    waiting: dict[int, asyncio.Future[None]] = {}
    numbers = itertools.count()
    with tempfile.TemporaryDirectory(prefix="bz", dir="/tmp") as folder:
        path = str(Path(folder, "owner.sock"))
        command, pipes = (
            [sys.executable, __file__, "--own", path],
            {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE},
        )
        with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]  # pipes
            process.stdout.readline()
            loop = asyncio.get_running_loop()
            take = lambda _peer, _what, number: waiting.pop(number).set_result(None)  # noqa: E731 - a callback
            _, peer = await loop.create_unix_connection(lambda: Peer(take), path)

            async def slot() -> int:
                number = next(numbers)
                waiting[number] = granted = loop.create_future()
                peer.send(b"a", number)
                await granted
                peer.send(b"r", number)
                return 1

            yield slot, process.pid
            process.terminate()


async def hop(seconds: float) -> dict[str, float]:
    """Return what an owner costs for each request: microseconds of CPU at both ends, and of waiting.

    One slot is asked for at a time: under load, several would share a message and cost less.
    """
    waits: list[float] = []
    async with owner() as (slot, pid):

        async def timed() -> int:
            started = time.perf_counter()
            await slot()
            waits.append(time.perf_counter() - started)
            return 1

        before = cpu_of(pid), cpu_of(os.getpid())
        count = await repeated(timed, seconds)
        after = cpu_of(pid), cpu_of(os.getpid())
    at_owner, at_pool = ((late - early) / count * 1e6 for early, late in zip(before, after, strict=True))
    return {"owner": at_owner, "pool": at_pool, "wait": statistics.median(waits) * 1e6}


# ---- the table


def show(found: dict[str, list[float]], paid: dict[str, float]) -> None:
    """Print what was measured, and what follows for more processes."""
    print(f"{NOTEBOOKS} notebooks, one pool      per second   share of a core   CPU us each   a second per core")
    for name, (rate, share, each) in found.items():
        print(f"{name:32} {rate:10,.0f} {share:17.2f} {each:13.0f} {1e6 / each:19,.0f}")
    print(f"\nan owner of the slots: {paid['wait']:.0f} us of waiting; CPU us for each request:", end=" ")
    print(f"{paid['pool']:.0f} in the pool, {paid['owner']:.0f} in the owner")
    alone = found["requests back to back"][2]
    print("\nprocesses   requests/s at most   cores   of one pool")
    for count in PROCESSES:
        each, owned = (alone, 0.0) if count == 1 else (alone + paid["pool"], paid["owner"])
        most = min(count * 1e6 / each, 1e6 / owned if owned else float("inf"))
        print(f"{count:9} {most:20,.0f} {most * (each + owned) / 1e6:7.2f} {most * alone / 1e6:12.2f} x")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--own", metavar="SOCKET", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.own:
        asyncio.run(own(given.own))
        return
    paid = asyncio.run(hop(given.seconds))
    show(pool(given.rounds, given.seconds), paid)


if __name__ == "__main__":
    main()
