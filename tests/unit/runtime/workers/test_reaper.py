"""What the reaper may remove when a worker has ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from byzer_magic.runtime.workers.reaper import SHARED
from tests.conftest import alive
from tests.waiting import eventually

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


SCRATCH = """
import os, signal, subprocess, sys
from pathlib import Path
from byzer_magic.runtime.workers.reaper import Reaper
folder = Path(sys.argv[1])
Reaper(folder)
(folder / "sub").mkdir()
(folder / "sub" / "file").touch()
(folder / "link").symlink_to(folder.parent / "precious")
child = subprocess.Popen(["sleep", "60"])
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_reaper_removes_the_temporary_files_of_a_killed_worker(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    folder = tmp_path / "scratch"
    folder.mkdir()
    command = [sys.executable, "-c", SCRATCH, str(folder)]
    child = int(subprocess.run(command, check=False, stdout=subprocess.PIPE).stdout)
    assert eventually(lambda: not folder.exists() and not alive(child))
    assert (tmp_path / "precious" / "file").exists()


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
        assert eventually(lambda: not made.exists())
        assert all(path.exists() for path in (*mine, fresh)), "users' own files stay, even when mapped by the worker"
    finally:
        for path in (*mine, made, fresh):
            Path(path).unlink(missing_ok=True)
        folder.rmdir()
