"""How long `%byzer panel` takes to be on the screen: `make bench-panel`, or

    python benchmarks/first_paint.py [--deployments 1 10 50] [--rounds 5] [--json FILE]

A private Ray has deployments of a provider of our own; a real JupyterLab shows a notebook in a real Chromium. The time
goes from the key that runs the cell to the frame that has the first deployment in the panel's table, and to the frame
that has all: in a fresh kernel, which imports and connects, then the median of running the cell again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
from ways import Ways, private_ray, provider, say  # noqa: E402 - found through the line above

GOAL = 0.5
"""Seconds until the first deployment is there, also with 50 of them."""
SETTLE_MS = 6000
"""After the first time a fresh kernel imports Ray; running the cell again takes less."""
MEASURE = """([cell, count]) => new Promise((resolve) => {
    const panel = window.jupyterapp.shell.currentWidget;
    const node = panel.content.widgets[cell].node;
    panel.content.activeCellIndex = cell;
    const before = node.querySelector('[data-bz-mount]');
    const started = performance.now();
    window.jupyterapp.commands.execute('notebook:run-cell');
    let first;
    const look = () => {
        const mount = node.querySelector('[data-bz-mount]');
        const rows = mount === before ? 0 : node.querySelectorAll('[data-bz-mount] tr.bz-model').length;
        const took = (performance.now() - started) / 1000;
        if (rows) first ??= took;
        if (rows >= count || took > 60) resolve([first, took]);
        else requestAnimationFrame(look);
    };
    look();
})"""


def measured(page: Any, book: Any, count: int, rounds: int) -> dict[str, float]:
    """Return the seconds until `count` deployments were on the screen."""
    book.open()
    book.run(0)
    times = []
    for number in range(rounds + 1):
        times.append(page.evaluate(MEASURE, [1, count]))
        book.wait(1)
        page.wait_for_timeout(500 if number else SETTLE_MS)
    first, complete = zip(*times[1:], strict=True)
    return {
        "deployments": count,
        "fresh, first": times[0][0],
        "fresh, all": times[0][1],
        "first": statistics.median(first),
        "all": statistics.median(complete),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deployments", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    given = parser.parse_args()
    rows = []
    with provider() as url, private_ray() as manager, tempfile.TemporaryDirectory(prefix="bzp", dir="/tmp") as folder:
        from playwright.sync_api import sync_playwright

        from tests.browser.driver import CHROMIUM_FLAGS, TOKEN, Notebook, Server, chromium, write_notebook

        ways, made = Ways(manager, url), 0
        with Server(Path(folder), dict(os.environ)) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(f"{server.url}/lab?token={TOKEN}&reset", timeout=90_000)
            page.wait_for_function("window.jupyterapp !== undefined", timeout=90_000)
            for count in sorted(given.deployments):
                say(f"{count} deployments ...")
                for number in range(made, count):
                    ways.deploy(f"bench{number:03}", workers=1, cpus=0.001)
                made = count
                path = server.folder / f"paint{count}.ipynb"
                write_notebook(path, ["%load_ext byzer_magic", "%byzer panel"])
                rows.append(measured(page, Notebook(page, path), count, given.rounds))
            browser.close()
    print(f"Seconds from the key to deployments on the screen; the goal is {GOAL} for the first:")
    print("".join(f"{name:>14}" for name in rows[0]))
    for row in rows:
        print(f"{row['deployments']:14}" + "".join(f"{seconds:14.2f}" for seconds in list(row.values())[1:]))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
