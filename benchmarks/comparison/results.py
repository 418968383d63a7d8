"""The results of the last runs, by part (`peers`, `commands`, `growth`), in a file under `.cache/`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tables import load_average, processor

FILE = Path(__file__).parents[2] / ".cache" / "peers" / "results.json"


@dataclass(frozen=True)
class About:
    """When, where and with what a part was measured."""

    date: str
    machine: str
    load: str
    versions: dict[str, str]
    rounds: int
    quick: bool


class Run:
    """What this run is about; make it before anything is measured."""

    def __init__(self, rounds: int, *, quick: bool) -> None:
        self._rounds, self._quick = rounds, quick
        self._load, self._started = os.getloadavg()[0], time.time()

    def about(self, versions: Mapping[str, str]) -> About:
        """Return the facts as they are at the end of the run."""
        date = time.strftime("%Y-%m-%d", time.gmtime(self._started))
        load = load_average(self._load, time.time() - self._started)
        return About(date, processor(), load, dict(versions), self._rounds, self._quick)


def load(path: Path = FILE) -> dict[str, Any]:
    """Return the results by part; none where nothing has been measured yet."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def keep(part: str, found: Mapping[str, Any], about: About, path: Path = FILE) -> None:
    """Keep what was measured of a part; the results of others stay as they are."""
    kept = load(path) | {part: {"about": asdict(about), **found}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1), encoding="utf-8")
