"""Packages that tests install: what other people would publish for byzer-magic."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = Path(__file__).parent


def install(name: str, target: Path) -> Path:
    """Install a package of this folder into `target` with pip, without the network, and return `target`."""
    source = target / "source"
    shutil.copytree(PACKAGES / name, source)  # a build leaves files beside its sources
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index",
         "--no-build-isolation", "--target", str(target / "site"), str(source)],
        check=True, timeout=120,
    )  # fmt: skip
    return target / "site"
