"""The peers' virtual environments: made from PyPI, with pinned versions, and kept under `.cache/peers/`."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from ways import say

CACHE = Path(__file__).parents[2] / ".cache" / "peers"
PINS = {
    "client": ("openai[aiohttp]==3.57.0", "aiohttp==3.14.5", "uvloop==0.23.0"),
    "litellm": ("litellm[proxy]==1.80.0",),  # never a later one: a release after it was compromised
    "serve": ("ray[serve]==2.60.0", "aiohttp==3.14.5", "uvloop==0.23.0"),
}
"""The packages of each environment. Without the last two, the ways through them are left out."""
PRODUCT = ("byzer-magic", "ray")
INSTALL_SECONDS = 900
STAMP = "pins.txt"
VERSIONS = """
import importlib.metadata as found, json, sys
print(json.dumps({name: found.version(name) for name in sys.argv[1:]}))
"""


class NotInstalled(Exception):
    """An environment could not be made."""


def python(name: str) -> str:
    """Return the interpreter of an environment, which is made where there is none with these versions.

    Args:
        name: a key of PINS; `ours`: the environment that runs this.

    Raises:
        NotInstalled: pip could not install its packages.
    """
    if name == "ours":
        return sys.executable
    folder = CACHE / name
    stamp, wanted = folder / STAMP, "\n".join(PINS[name])
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        say(f"installing {', '.join(PINS[name])} into {folder} ...")
        shutil.rmtree(folder, ignore_errors=True)
        _install(folder, name)
        stamp.write_text(wanted, encoding="utf-8")
    return str(folder / "bin" / "python")


def _install(folder: Path, name: str) -> None:
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    make = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "--disable-pip-version-check"]
    try:
        for command in (make, [*pip, "install", "-q", *PINS[name]]):
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, env=environ, timeout=INSTALL_SECONDS
            )
            if done.returncode:
                raise NotInstalled((done.stderr.strip().splitlines() or ["pip said nothing"])[-1])
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"pip took more than {INSTALL_SECONDS} s") from None


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions, as installed, of what is pinned in some environments; for `ours`, of the product."""
    found = {"Python": platform.python_version()}
    for name in names:
        packages = [re.split(r"\W*==|\[", pin)[0] for pin in PINS.get(name, PRODUCT)]
        if name not in PINS or (CACHE / name / STAMP).is_file():
            command = [python(name), "-c", VERSIONS, *packages]
            found |= json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found
