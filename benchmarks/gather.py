"""What it costs that complete responses are gathered from streams: `python benchmarks/gather.py [--json FILE]`.

The provider (provider.py) writes responses of 100 or 5 words, 200 words a second. They are asked for *streamed*, where
each delta goes to the client, and *complete* (`chat()`, `query`, batches), where the pool gathers them. What counts is
the CPU time of a request, in the client's process and in the pool's: it limits how many a machine can have in flight.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from pathlib import Path
from typing import Any

from processes import cpu_seconds
from ways import ALIAS, Ways, private_ray, provider, request, say

RATE = 200
ROUNDS = 5
COUNTS = {(1, 100): 4, (64, 100): 256, (64, 5): 2048}
"""Requests in a round, by how many are in flight and how many words their responses have."""


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    rows: dict[str, list[float]] = {}
    with provider() as url, private_ray() as manager:
        setup = Ways(manager, url)
        _, pid = setup.deploy(ALIAS, workers=4, cpus=0.001)
        for stream in (False, True):
            manager.run(measured(manager, pid, 64, 100, stream=stream))  # warm
        for _ in range(ROUNDS):
            for flight, words in COUNTS:
                for stream in (False, True):
                    name = f"{words:3} words, {flight:2} in flight, {'streamed' if stream else 'complete'}"
                    say(name)
                    figures = manager.run(measured(manager, pid, flight, words, stream=stream))
                    rows.setdefault(name, []).append(figures)
        setup.close()
    print(f"{'':34}{'client CPU ms':>14}{'pool CPU ms':>13}{'both':>8}{'seconds':>9}{'messages':>10}")
    medians = {name: [statistics.median(column) for column in zip(*all_, strict=True)] for name, all_ in rows.items()}
    for name, (client, pool, seconds, items) in medians.items():
        print(f"{name:34}{client:14.2f}{pool:13.2f}{client + pool:8.2f}{seconds:9.3f}{items:10.1f}")
    if options.json:
        options.json.write_text(json.dumps(medians))


async def measured(
    manager: Any, pid: int, flight: int, words: int, *, stream: bool
) -> tuple[float, float, float, float]:
    """Return, per request: CPU ms of this process and of the pool, seconds, and items received."""
    from byzer_magic.client.converse import Exchange

    count, seconds, items = COUNTS[flight, words], list[float](), 0

    def note(_item: Any) -> None:
        nonlocal items
        items += 1

    async def one_after_the_other() -> None:
        for _ in range(count // flight):
            started = time.perf_counter()
            result = await Exchange(manager, ALIAS, request(f"words:{words}@{RATE}", stream=stream)).run(note)
            assert len(str(result).split()) == words, result
            seconds.append(time.perf_counter() - started)

    before = time.process_time(), cpu_seconds(pid)
    await asyncio.gather(*(one_after_the_other() for _ in range(flight)))
    client, pool = time.process_time() - before[0], cpu_seconds(pid) - before[1]
    return client * 1000 / count, pool * 1000 / count, statistics.median(seconds), items / count


if __name__ == "__main__":
    main()
