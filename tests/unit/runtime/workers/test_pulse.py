"""When a worker is taken to hang, beat by beat; and whether a real process computes, sleeps or is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from hypothesis import given, strategies as st

from byzer_magic.runtime.cluster import logs
from byzer_magic.runtime.workers.pulse import (
    BEAT_SECONDS,
    BLOCKED_SECONDS,
    QUIET_SECONDS,
    STOPPED_SECONDS,
    Beat,
    Cpu,
    Pulse,
)
from tests.waiting import eventually

SILENCE = 1800.0


def seconds_until_hung(beat: Beat, silence: float = SILENCE, limit: float = 3 * SILENCE) -> float | None:
    """Return for how long such beats follow each other until the worker is taken to hang."""
    pulse, now = Pulse("m worker 0", silence), 0.0
    while now < limit:
        now += beat.seconds
        if pulse.beat(beat):
            return now
    return None


@pytest.mark.parametrize(
    ("lives", "owes", "computes", "after"),
    [
        (False, False, False, STOPPED_SECONDS),  # stopped, even without a request
        (False, True, False, STOPPED_SECONDS),
        (False, True, True, BLOCKED_SECONDS),  # its event loop is held up by what it computes
        (False, True, None, BLOCKED_SECONDS),  # it waits for a core, or is on another node
        (True, True, False, QUIET_SECONDS),  # a deadlock in the engine
        (True, True, True, SILENCE),  # a long prompt, or a loop without an end
        (True, True, None, SILENCE),
        (True, False, False, None),  # idle
        (True, False, True, None),
    ],
)
def test_how_long_a_worker_may_be_silent(lives: bool, owes: bool, computes: bool | None, after: float | None) -> None:
    assert seconds_until_hung(Beat(BEAT_SECONDS, lives, owes, computes)) == after


def test_silence_of_0_is_no_limit_for_one_that_computes() -> None:
    assert seconds_until_hung(Beat(BEAT_SECONDS, lives=True, owes=True, computes=True), silence=0) is None


@given(st.lists(st.sampled_from([True, None]), max_size=50), st.integers(1, 4))
def test_worker_that_computes_now_and_then_is_slow_and_does_not_hang(pattern: list[bool | None], every: int) -> None:
    pulse = Pulse("m worker 0", 0)
    for beat in range(int(BLOCKED_SECONDS / BEAT_SECONDS) - 1):
        computes = pattern[beat] if beat < len(pattern) else beat % every == 0
        assert pulse.beat(Beat(BEAT_SECONDS, lives=False, owes=True, computes=computes)) is None


def test_one_sign_of_life_begins_the_count_anew() -> None:
    pulse = Pulse("m worker 0", SILENCE)
    for _ in range(20):
        for _ in range(4):
            assert pulse.beat(Beat(BEAT_SECONDS, lives=False, owes=False, computes=False)) is None
        assert pulse.beat(Beat(BEAT_SECONDS, lives=True, owes=False)) is None


def test_pool_that_was_stopped_itself_does_not_take_its_workers_for_dead() -> None:
    pulse = Pulse("m worker 0", SILENCE)
    assert pulse.beat(Beat(3600.0, lives=False, owes=True, computes=False)) is None
    assert pulse.beat(Beat(BEAT_SECONDS, lives=True, owes=True, computes=True)) is None


def test_error_names_the_worker_and_what_was_missing() -> None:
    pulse = Pulse("m worker 1", SILENCE)
    while (error := pulse.beat(Beat(BEAT_SECONDS, lives=False, owes=True, computes=False))) is None:
        pass
    assert error.message == "m worker 1 hung: no sign of life for 10 s."
    assert "send the request again" in error.hint


BUSY = """
print('up', flush=True)
while True: pass
"""


@contextmanager
def process(code: str) -> Iterator[logs.ProcessId]:
    """Run code that says when it is up."""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == b"up\n"
            yield logs.ProcessId("", running.pid)
        finally:
            os.killpg(running.pid, signal.SIGKILL)  # with its children


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "here", lambda: "")


def used(running: logs.ProcessId, seconds: float = 0.6, *, on_gpu: bool = False) -> bool | None:
    cpu = Cpu(on_gpu=on_gpu)
    assert cpu.used(running) is None, "there is nothing to compare with"
    time.sleep(seconds)
    return cpu.used(running)


def test_process_that_computes_is_seen_and_one_that_waits_does_not_compute() -> None:
    with process(BUSY) as busy, process("import time; print('up', flush=True); time.sleep(60)") as idle:
        assert used(busy) is not False, "it uses a core, or waits for one"
        assert used(idle) is False
        assert used(idle, on_gpu=True) is None, "it may wait for its GPU"


def test_stopped_process_does_not_compute() -> None:
    with process(BUSY) as running:
        os.kill(running.pid, signal.SIGSTOP)
        assert eventually(lambda: psutil.Process(running.pid).status() == psutil.STATUS_STOPPED)
        assert used(running) is False
        assert used(running, on_gpu=True) is False


def test_child_that_computes_counts_for_its_parent() -> None:
    with process(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}], timeout=60)") as parent:
        assert used(parent) is not False


def test_process_on_another_node_is_not_known() -> None:
    assert Cpu(on_gpu=False).used(logs.ProcessId("elsewhere", os.getpid())) is None
