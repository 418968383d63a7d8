"""What a forked child gets in place of what its parent has."""

from __future__ import annotations

import subprocess
import sys

import pytest

KEEP = """
import os
from byzer_magic.runtime import forks

class Noisy:
    def __del__(self):
        print("freed", os.getpid() == first)

first = os.getpid()
noisy = Noisy()
if (pid := os.fork()) == 0:
    forks.keep(noisy)
    del noisy
else:
    os.waitpid(pid, 0)
    del noisy
"""
GENERATIONS = """
import os
from byzer_magic.runtime import forks

class Counted:
    count = 0
    def forked(self):
        self.count += 1

counted = Counted()
forks.register(counted)
for _ in range(2):
    if (pid := os.fork()) != 0:
        os.waitpid(pid, 0)
        break
print(forks.generation(), counted.count, flush=True)
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [(KEEP, "freed True\n"), (GENERATIONS, "2 2\n1 1\n0 0\n")],
    ids=["frees nothing that it keeps", "counts forks"],
)
def test_forked_child(code: str, expected: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (expected, "")
