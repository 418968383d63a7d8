"""How long `%load_ext byzer_magic` takes in a new kernel's shell, and what it imports. The goal is under 200 ms.

    python benchmarks/load_ext.py

Each round is a separate process. IPython itself is loaded before the clock starts, as it is in a kernel.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

ROUNDS = 9
GOAL_MS = 200
CODE = """
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
import IPython.display, IPython.core.magic, asyncio, logging
shell = InteractiveShell.instance()
before, began, cpu = set(sys.modules), time.perf_counter(), time.process_time()
shell.run_line_magic("load_ext", "byzer_magic")
took, cpu = time.perf_counter() - began, time.process_time() - cpu
print(json.dumps([took * 1000, cpu * 1000, sorted({name.split(".")[0] for name in set(sys.modules) - before})]))
"""


def round_() -> tuple[float, float, list[str]]:
    """Load the extension in a new process; return the milliseconds, those of CPU, and the packages that it brought."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    took, cpu, packages = json.loads(done.stdout.splitlines()[-1])
    return took, cpu, packages


def line(name: str, times: list[float]) -> str:
    return f"{name:12} median {statistics.median(times):4.0f} ms, best {min(times):4.0f} ms, worst {max(times):4.0f} ms"


def main() -> None:
    rounds = [round_() for _ in range(ROUNDS)]
    others = [name for name in rounds[0][2] if name not in sys.stdlib_module_names and not name.startswith("_")]
    print(f"%load_ext byzer_magic, {ROUNDS} rounds; the goal is under {GOAL_MS} ms on a machine that is not busy")
    print(line("wall clock", [took for took, _, _ in rounds]))
    print(line("CPU", [cpu for _, cpu, _ in rounds]))
    print(f"packages that it imports: {', '.join(others)}")


if __name__ == "__main__":
    main()
