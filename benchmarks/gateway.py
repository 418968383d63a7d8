"""The endpoint beside its peers, measured in turns in one run:

    python benchmarks/gateway.py [--rounds 3] [--quick] [--ways raw,proxy,endpoint,litellm,serve-http]

Our own provider (provider.py) answers on loopback. Every way has the same client, aiohttp and json: to the provider
itself, through a reverse proxy in the endpoint's own stack (the floor), through the endpoint and a pool, through
LiteLLM's proxy, and through Ray Serve's ingress. Figures are medians over the rounds; requests per core are those of
the processes between client and provider.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import tables
from comparison.measures import PARTS, Comparison
from comparison.summary import Figures, figures_of
from comparison.systems import ROUTES, Route, systems
from ways import ALIAS, provider

ADDRESS = "http://127.0.0.1:{port}/v1"
SERVER = ("-m", "byzer_magic.cli", "serve", "--port", "{port}", "--served_model_name", f"tiny={ALIAS}")
ROUTES["endpoint"] = Route(
    "endpoint", "client", ("raw", ADDRESS), "ours", ("ray::Pool", f"{sys.executable} -m byzer_magic.cli"), "ours",
    (*SERVER, "--uvicorn_log_level", "warning"),
)  # fmt: skip
ROUTES["proxy"] = Route(
    "reverse proxy", "client", ("raw", ADDRESS), "proxy",
    server=("-m", "comparison.reverse_proxy", "{port}", "{url}"),
)  # fmt: skip
ROUTES["litellm-raw"] = Route("LiteLLM 1.80", "client", ("raw", ADDRESS), "litellm")
WAYS = ("raw", "proxy", "endpoint", "litellm-raw", "serve-http")
LINES = (
    ("at rest, p50 ms", "rest p50", "{:.2f}"),
    ("at rest, p99 ms", "rest p99", "{:.2f}"),
    ("64 in flight, 0 ms: requests/s", "load0 rate", "{:.0f}"),
    ("  per core", "load0 per core", "{:.0f}"),
    ("64 in flight, 50 ms: requests/s", "load50 rate", "{:.0f}"),
    ("  per core", "load50 per core", "{:.0f}"),
    ("64 streams: token late, p50 ms", "token p50", "{:.2f}"),
    ("64 streams: token late, p99 ms", "token p99", "{:.2f}"),
    ("  CPU us a token", "serving", "{:.0f}"),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="shorter measurements")
    parser.add_argument("--ways", default=",".join(WAYS))
    given = parser.parse_args()
    load, started = os.getloadavg()[0], time.monotonic()
    with provider() as url, systems(url) as running:
        comparison = Comparison(running, given.ways.split(","), quick=given.quick)
        comparison.open()
        for number in range(given.rounds):
            comparison.round(number, PARTS)
    show(figures_of(comparison.samples))
    print(tables.machine(load, time.monotonic() - started))
    for name, why in comparison.missing.items():
        print(f"{name} is missing: {why}")


def show(figures: dict[str, Figures]) -> None:
    """Print the figures, a column for each way."""
    cells = [["", *(ROUTES[way].title for way in figures)]]
    for title, name, form in LINES:
        cells.append([title, *(form.format(own[name]) if name in own else "" for own in figures.values())])
    tables.print_columns(cells)


if __name__ == "__main__":
    main()
