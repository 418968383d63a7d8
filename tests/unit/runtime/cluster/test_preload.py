"""Which worker process imports what pools need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from byzer_magic.runtime.cluster import preload

CODE = f"""
import sys
import byzer_magic.runtime.cluster.preload as preload
print(preload.was_spare(), *sorted(set(sys.modules) & {set(preload.MODULES)!r}))
"""


def imported(file: Path | None) -> list[str]:
    env = {**os.environ, preload.VARIABLE: str(file or "")}
    return subprocess.run(
        [sys.executable, "-c", CODE], env=env, capture_output=True, text=True, check=True
    ).stdout.split()


def test_only_the_process_that_was_asked_for_imports(tmp_path: Path) -> None:
    file = tmp_path / "spare"
    assert imported(None) == ["False"]
    assert imported(file) == ["False"], "nobody has asked"
    Path(f"{file}{preload.WANTED}").touch()
    assert imported(file) == ["True", *sorted(preload.MODULES)]
    assert int(file.read_text()) > 0
    assert imported(file) == ["False"], "one is enough"
