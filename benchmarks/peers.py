"""The product beside its peers, measured in turns in one run: `make bench-peers`, or

    python benchmarks/peers.py [--quick] [--rounds 3] [--only rest,load,streams,commands,growth] [--ways ours,raw,...]
    python benchmarks/peers.py --docs     # measures nothing: writes the last results into docs/

Our own provider (provider.py) answers on loopback. Each way to it has a client process of its own: aiohttp alone (the
floor), byzer-magic, the OpenAI SDK over httpx and aiohttp, LiteLLM's proxy, and Ray Serve, over HTTP and by a handle.
The clients take turns. Figures are medians over the rounds, also of each round's p99; CPU is that of the processes
between client and provider that handle requests.

`commands` measures what commands of a shell take, and memory; `growth`, how costs grow with workers, requests in
flight, notebooks and deployments. The peers' environments are made under `.cache/peers/`, of pinned versions from
PyPI; where that fails, the others are measured. Results are kept in `.cache/peers/results.json`, part by part.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from comparison import commands, environments, growth, pages, results
from comparison.measures import PARTS, Comparison
from comparison.summary import figures_of
from comparison.systems import ROUTES, Missing, Systems, systems
from ways import provider

ALL = (*PARTS, "commands", "growth")
ROUNDS = 3


def main() -> None:
    """Run what the command line asks for, keep the results and print them."""
    options = parsed()
    if options.docs:
        pages.write(results.load(options.json))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started here ends then, too
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    measured: list[str] = []
    try:
        for part, (measure, members) in MEASURES.items():
            if set(options.only) & set(members):
                run = results.Run(rounds, quick=options.quick)
                with provider() as url, systems(url) as started:
                    found = measure(started, options, rounds)
                used = [ROUTES[way].environment for way in options.ways] if part == "peers" else ["ours"]
                results.keep(part, found, run.about(environments.versions(dict.fromkeys(used))), options.json)
                measured.append(part)
    except Missing as err:
        sys.exit(f"{part} could not be measured: {err}")
    finally:  # an interrupted run shows what it has
        kept = results.load(options.json)
        pages.shown({part: kept[part] for part in measured})


def parsed() -> argparse.Namespace:
    """Return the options."""
    about, _, more = str(__doc__).partition("\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round, shorter: to see that it works")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"by default {ROUNDS}")
    parser.add_argument("--only", type=listed(ALL), default=ALL, metavar="PARTS", help=f"some of {','.join(ALL)}")
    parser.add_argument("--ways", type=listed(ROUTES), default=[*ROUTES], help=f"some of {','.join(ROUTES)}")
    parser.add_argument("--json", type=Path, default=results.FILE, metavar="FILE", help="where results are kept")
    parser.add_argument("--docs", action="store_true", help="measure nothing: write the kept results into docs/")
    return parser.parse_args()


def listed(known: Sequence[str]) -> object:
    """Return a reader of names, separated by commas."""

    def read(text: str) -> list[str]:
        if unknown := set(text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
        return [name for name in known if name in text.split(",")]

    return read


def compared(started: Systems, options: argparse.Namespace, rounds: int) -> dict[str, object]:
    """Measure all ways in turns."""
    comparison = Comparison(started, options.ways, quick=options.quick)
    comparison.open()
    for number in range(rounds):
        comparison.round(number, options.only)
    figures = figures_of(comparison.samples)
    for way, (count, megabytes) in comparison.memory.items():
        figures.setdefault(way, {}).update(processes=count, megabytes=megabytes)
    samples = [asdict(sample) for sample in comparison.samples]
    return {"figures": figures, "missing": comparison.missing, "samples": samples}


def of_commands(started: Systems, _: argparse.Namespace, rounds: int) -> dict[str, object]:
    """Measure commands and memory."""
    return commands.measured(started, rounds)


def of_growth(started: Systems, options: argparse.Namespace, _: int) -> dict[str, object]:
    """Measure how costs grow."""
    return growth.measured(started, quick=options.quick)


MEASURES = {
    "peers": (compared, PARTS),
    "commands": (of_commands, ("commands",)),
    "growth": (of_growth, ("growth",)),
}

if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
