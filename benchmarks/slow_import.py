"""What rfc3987_syntax adds to `import ray` and to the start of a Ray, and what the stand-in saves (decision 009).

    python benchmarks/slow_import.py

Each measurement is a separate process, in turns. The Ray that is started is private and ends with its process.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile

from byzer_magic.runtime.cluster.ray_import import child_environment

ROUNDS = 3
CLOCK = "import time\nbegan = time.perf_counter()\n{code}\nprint(time.perf_counter() - began)"
IMPORT = "import ray"
START = """
import ray
ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=80_000_000,
         log_to_driver=False, logging_level="ERROR")
ray.get(ray.remote(lambda: None).remote())
"""


def seconds(code: str, env: dict[str, str]) -> float:
    """Run code in a new process; return the seconds that it took: infinity where Ray gave up, as it does after 30 s."""
    command = [sys.executable, "-c", CLOCK.format(code=code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode and "timed out during startup" not in done.stderr:
        sys.exit(done.stderr)
    return math.inf if done.returncode else float(done.stdout.split()[-1])


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bz", dir="/tmp") as folder:  # short: Ray has sockets below it
        plain = {**os.environ, "RAY_TMPDIR": folder}
        ways = {"plain": plain, "deferred": child_environment(plain)}
        for name, code in (("import ray", IMPORT), ("a local Ray and its first task", START)):
            took: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(ROUNDS):
                for way, env in ways.items():
                    took[way].append(seconds(code, env))
            medians = ", ".join(f"{way} {statistics.median(times):.1f} s" for way, times in took.items())
            print(f"{name}, median of {ROUNDS}: {medians}")


if __name__ == "__main__":
    main()
