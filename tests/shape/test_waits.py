"""No test depends on how soon something happens: it waits for it (`tests.waiting`), and no clock decides."""

from __future__ import annotations

import re
from pathlib import Path

from tests.waiting import PATIENCE

TESTS = Path(__file__).parents[1]
LEAST = PATIENCE / 2
"""Of a limit that only a failure reaches; a busy machine takes ten times as long as an idle one."""
LIMIT = re.compile(
    r"(?:urlopen|create_connection|HTTPConnection|subprocess\.run)\(.*\btimeout=(\d[\d_.]*)"
    r"|\.(?:result|communicate|settimeout)\((?:timeout=)?(\d[\d_.]*)\)|\bexpect\(.*, timeout=(\d[\d_]*)\)"
)
DECIDES = re.compile(r"assert .*\b(?:monotonic|perf_counter|time)\(\) - \w+ < \d|\bmonotonic\(\) \+ \d")
APART = {
    "gpu/check.py": "on a machine of its own",
    "ray/test_what_if.py": "its requests come at times of their own",
    "shape/test_waits.py": "it has the patterns",
}
"""Files that may have such lines, each with its reason."""


def lines() -> list[tuple[str, str]]:
    files = {str(path.relative_to(TESTS)): path for path in TESTS.rglob("*.py") if "node_modules" not in path.parts}
    return [
        (f"{name}:{number}", line)
        for name, path in files.items()
        if name not in APART
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    ]


def test_limits_are_such_that_only_a_failure_reaches_them() -> None:
    short = []
    for place, line in lines():
        for found in LIMIT.finditer(line):
            seconds = float(found[1] or found[2] or float(found[3]) / 1000)
            short += [place] * (seconds < LEAST)
    assert not short, "give it PATIENCE of tests.waiting"


def test_no_clock_decides_a_test() -> None:
    found = [place for place, line in lines() if DECIDES.search(line)]
    assert not found, "wait with `eventually`, count what happens, or measure the CPU time (tests.budgets)"
