"""What the reaper may remove when a worker has ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from byzer_magic.runtime.workers.reaper import SHARED

CODE = """
import mmap, sys, time
from byzer_magic.runtime.workers.reaper import Reaper
reaper = Reaper()
time.sleep(0.2)
for name in sys.argv[1:3]:
    open(name, "ab").write(b"x" * 4096)
files = [open(name, "r+b") for name in sys.argv[1:]]
maps = [mmap.mmap(file.fileno(), 0) for file in files]
reaper.note_shared_memory()
"""


def test_reaper_removes_only_shared_memory_of_the_engine() -> None:
    folder = SHARED / f"models-{os.getpid()}"
    folder.mkdir()
    made, fresh = SHARED / f"psm_test{os.getpid()}", SHARED / f"fresh-{os.getpid()}.gguf"
    mine = [folder / "model.gguf", SHARED / f"model-{os.getpid()}.gguf", SHARED / f"psm_older{os.getpid()}"]
    try:
        for path in mine:
            path.write_bytes(b"x" * 4096)
        time.sleep(0.1)
        subprocess.run([sys.executable, "-c", CODE, str(made), str(fresh), *map(str, mine)], check=True)
        deadline = time.monotonic() + 5
        while made.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not made.exists()
        assert all(path.exists() for path in (*mine, fresh)), "users' own files stay, even when mapped by the worker"
    finally:
        for path in (*mine, made, fresh):
            Path(path).unlink(missing_ok=True)
        folder.rmdir()
