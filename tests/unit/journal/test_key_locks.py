"""Locks of keys between processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from byzer_magic.journal.key_locks import KeyLocks
from tests.waiting import PATIENCE

KEY, OTHER = "0f" * 32, "f0" * 32
HOLDER = """
import asyncio, sys
from pathlib import Path
from byzer_magic.journal.key_locks import KeyLocks

async def hold():
    async with KeyLocks(Path(sys.argv[1])).held([sys.argv[2]]):
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
    print("given back", flush=True)
    await asyncio.to_thread(sys.stdin.readline)

asyncio.run(hold())
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """Return a process that holds the lock until it gets a line, or is killed."""
    command = [sys.executable, "-c", HOLDER, str(path), KEY]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


async def test_lock_of_another_process_is_waited_for_and_dropped_with_it(tmp_path: Path) -> None:
    locks = KeyLocks(tmp_path / "locks")
    for end in ("line", "kill"):
        process = holder(tmp_path / "locks")
        try:
            async with asyncio.timeout(PATIENCE), locks.held([OTHER]):
                pass
            waiting = asyncio.create_task(taken(locks))
            await asyncio.sleep(0.3)
            assert not waiting.done(), "another process has it"
            if end == "kill":
                process.kill()
            else:
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()
            await asyncio.wait_for(waiting, PATIENCE)
        finally:
            process.kill()
            process.communicate()


async def taken(locks: KeyLocks) -> None:
    async with locks.held([KEY]):
        pass


async def test_file_that_cannot_be_locked_stops_nothing(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE), KeyLocks(tmp_path / "nowhere" / "locks").held([KEY]):
        pass
