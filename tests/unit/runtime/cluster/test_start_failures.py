"""What the logs of a Ray that did not start tell: lines as Ray 2.60 has written them, shortened."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from byzer_magic.errors import CannotConnect
from byzer_magic.runtime.cluster import start_failures

STAMP = "[2026-11-26 17:46:25,053 {0} 104 104] (raylet) "
INFO = STAMP.format("I") + "main.cc:283: Setting cluster ID to: 49a0"
FRAMES = """*** StackTrace Information ***
/venv/ray/core/src/ray/raylet/raylet(+0x6b6011) [0x5614a4d0e011] ray::rpc::RetryableGrpcClient::Retry()
/lib/x86_64-linux-gnu/libc.so.6(__libc_start_main+0x85) [0x7f505ee45305] __libc_start_main

"""
PORT_FILE = (
    STAMP.format("C") + "node_manager.cc:3576:  An unexpected system state has occurred. You have likely discovered a "
    "bug in Ray. Please report this issue at https://github.com/ray-project/ray/issues and we'll work with you to fix "
    "it. Check failed: statussetor3576.has_value() Timed out waiting for file /tmp/ray/s/metrics_agent_port_84b9"
)
AGENT = (
    STAMP.format("E") + "agent_manager.cc:87: The raylet exited immediately because one Ray agent failed, "
    "agent_name = {0}.\nThe raylet fate shares with the agent. This can happen because\n"
    "- The version of `grpcio` doesn't follow Ray's requirement.\n"
    "- The agent failed to start because of unexpected error or port conflict. Read the log\n"
    "- The agent is killed by the OS (e.g., out of memory)."
)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    for name in ("gcs_server", "raylet", "dashboard_agent", "runtime_env_agent"):
        for suffix in ("out", "err", "log"):
            (folder / f"{name}.{suffix}").touch()
    (folder / "raylet.out").write_text(INFO)
    return folder


def named_log(err: CannotConnect) -> Path:
    """Return the log that the hint names, which exists and is not empty."""
    match = re.search(r"From (/\S+):\n", str(err))
    assert match
    path = Path(match[1])
    assert path.stat().st_size
    return path


def test_agent_that_is_late_is_named_without_the_stack(logs: Path) -> None:
    (logs / "raylet.err").write_text(f"{PORT_FILE}\n{FRAMES}")
    err, again = start_failures.ended("raylet", -6, logs)
    assert err.message == "The local Ray could not start: dashboard_agent failed, and raylet with it."
    assert named_log(err).name == "raylet.err"
    assert "Timed out waiting for file" in err.hint
    assert "StackTrace" not in err.hint
    assert "0x" not in err.hint
    assert "bug in Ray" not in err.hint
    assert again


@pytest.mark.parametrize("agent", ["dashboard_agent", "runtime_env_agent"])
def test_agent_that_failed_is_named_with_its_own_log(logs: Path, agent: str) -> None:
    (logs / "raylet.out").write_text(AGENT.format(agent))
    (logs / f"{agent}.log").write_text("2026-11-26 INFO starting\n2026-11-26 ERROR agent.py:1 -- ImportError: no x\n")
    err, _again = start_failures.ended("raylet", 1, logs)
    assert err.message == f"The local Ray could not start: {agent} failed, and raylet with it."
    assert named_log(err).name == f"{agent}.log"
    assert err.hint.endswith("ImportError: no x")


def test_agent_without_a_log_is_told_of_by_the_raylet(logs: Path) -> None:
    stack = 'Traceback (most recent call last):\n  File "/x.py", line 1\n    import x'
    trace = f"{stack}\nModuleNotFoundError: No module named x"
    (logs / "raylet.err").write_text(f"{trace}\n{AGENT.format('dashboard_agent')}\n")
    err, _again = start_failures.ended("raylet", 1, logs)
    assert named_log(err).name == "raylet.err"
    assert not re.search("Traceback|import x", err.hint), "a stack is none, either"
    assert "ModuleNotFoundError: No module named x" in err.hint
    assert "port conflict" not in err.hint, "general advice is no reason"
    assert "memory" not in err.message


@pytest.mark.parametrize("process", ["raylet", "gcs_server"])
def test_killed_process_is_named_with_the_signal(logs: Path, process: str) -> None:
    (logs / f"{process}.out").write_text(INFO)
    err, again = start_failures.ended(process, -9, logs)
    assert err.message == f"The local Ray could not start: {process} was killed (SIGKILL)."
    assert "Free memory" in err.hint
    assert named_log(err).name == f"{process}.out"
    assert again


def test_process_that_ended_is_named_with_its_exit_code(logs: Path) -> None:
    err, _again = start_failures.ended("raylet", 3, logs)
    assert err.message == "The local Ray could not start: raylet ended (exit code 3)."
    err, _again = start_failures.ended("raylet", None, logs)
    assert err.message == "The local Ray could not start: it ended while raylet was starting."


@pytest.mark.parametrize(
    ("line", "message", "again"),
    [
        ("Check failed: IOError: [Errno 28] No space left on device", "the disk with {folder} is full", False),
        ("Failed to open: Disk quota exceeded", "the disk with {folder} is full", False),
        ("Check failed: bind: Permission denied", "gcs_server has no permission for a file or folder", False),
        ("Error: Read-only file system: /tmp/ray", "gcs_server has no permission for a file or folder", False),
        ("OSError: AF_UNIX path length cannot exceed 107 bytes: /x", "{folder} is too long a path", False),
        ("Failed to start the grpc server: Address already in use", "another process uses a port", True),
        (
            "pthread_create failed: Resource temporarily unavailable",
            "the limit of processes or open files is reached",
            False,
        ),
        ("Error: Too many open files", "the limit of processes or open files is reached", False),
        ("Failed to mmap: Cannot allocate memory", "there is not enough memory", False),
        ("terminate called after throwing std::bad_alloc: Error: x", "there is not enough memory", False),
    ],
)
def test_cause_in_a_log_is_one_sentence_with_the_next_step(logs: Path, line: str, message: str, again: bool) -> None:
    (logs / "gcs_server.out").write_text(f"{INFO}\n{STAMP.format('C')}x.cc:1: {line}\n{FRAMES}")
    err, may_work = start_failures.ended("gcs_server", 1, logs)
    expected = message.format(folder=logs.parent)
    assert err.message.startswith(f"The local Ray could not start: {expected}")
    assert err.message.endswith(".")
    assert may_work == again
    assert named_log(err).name == "gcs_server.out"
    assert not err.hint.startswith("From"), "a next step comes first"


def test_statistics_in_a_log_are_no_reason(logs: Path) -> None:
    noise = "[state-dump] - process_failed_rate_limited: 0\n\tRayletLoadPulled - 1 total (1 active), x\nEvent stats:\n"
    (logs / "gcs_server.out").write_text(f"{INFO}\n{noise}")
    err, _again = start_failures.ended("gcs_server", 1, logs)
    assert err.hint.endswith(INFO)


def test_exception_of_the_start_is_quoted_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "byzer_head.log"
    log.write_text('Traceback (most recent call last):\n  File "/x.py", line 1, in f\nRuntimeError: planted\n')
    err, again = start_failures.failed("RuntimeError: planted", log, None)
    assert err.message == "The local Ray could not start: RuntimeError: planted"
    assert named_log(err) == log
    assert again
    err, again = start_failures.failed("OSError: AF_UNIX path length cannot exceed 107 bytes: /y", log, None)
    assert "too long a path" in err.message
    assert not again


@pytest.mark.parametrize(
    ("reason", "again"),
    [
        ("ImportError: libstdc++.so.6: version `GLIBCXX_3.4.99' not found", False),
        ("ModuleNotFoundError: No module named 'x'", False),
        ("ValueError: planted", False),
        ("ray.exceptions.RaySystemError: planted", True),
        ("TimeoutError: planted", True),
    ],
)
def test_what_a_second_try_would_raise_again_is_not_tried(reason: str, again: bool, tmp_path: Path) -> None:
    err, found = start_failures.failed(reason, tmp_path / "none", None)
    assert err.message == f"The local Ray could not start: {reason}"
    assert found == again


@pytest.mark.parametrize(
    "error",
    ["PermissionError: [Errno 13] Permission denied", "OSError: [Errno 30] Read-only file system",
     "FileExistsError: [Errno 17] File exists"],
)  # fmt: skip
def test_home_that_cannot_be_written_is_told_from_a_temporary_folder(error: str, tmp_path: Path) -> None:
    reason = f"{error}: '/home/me/.ray'"
    log = tmp_path / "byzer_head.log"
    log.write_text(f"Traceback (most recent call last):\n{reason}\n")
    err, again = start_failures.failed(reason, log, None)
    assert "home" in err.message
    assert err.hint.count(reason) == 1
    assert "RAY_TMPDIR" not in str(err)
    assert not again


def test_late_process_is_named_with_its_log(logs: Path, tmp_path: Path) -> None:
    err = start_failures.late(45, "raylet", tmp_path / "none", logs)
    assert err.message == "The local Ray did not start within 45 s: still waiting for raylet."
    assert "BYZER_START_SECONDS" in err.hint
    assert named_log(err).name == "raylet.out"


def test_nothing_is_named_where_no_log_says_anything(tmp_path: Path) -> None:
    (tmp_path / "byzer_head.log").touch()
    err, _again = start_failures.failed("", tmp_path / "byzer_head.log", None)
    assert str(err) == "The local Ray could not start."


def test_full_disk_is_noticed_without_a_log(tmp_path: Path) -> None:
    assert start_failures.disk_full(tmp_path) is None
    full = start_failures.disk_full(tmp_path, least_bytes=1 << 62)
    assert full is not None
    assert full.message == f"The local Ray could not start: the disk with {tmp_path} is full."
    assert "RAY_TMPDIR" in full.hint
