"""Starting and stopping this user's local Ray, whose process is `byzer_magic.runtime.cluster.local_head`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from byzer_magic.config import Settings
from byzer_magic.errors import CannotConnect
from byzer_magic.files.private import open_own, write_own
from byzer_magic.i18n import gettext, lazy_gettext as _
from byzer_magic.runtime.cluster import start_failures, this_machine
from byzer_magic.runtime.cluster.own_folder import HINT, check_base, own_folder
from byzer_magic.runtime.cluster.processes import kill_session
from byzer_magic.runtime.cluster.ray_import import child_environment

POLL_SECONDS = 0.1
STILL_SECONDS = 10.0
"""After the first second, how often a message says what is waited for."""
STOP_SECONDS = 20.0
"""How long the local Ray may take to stop before it is killed."""

Say = Callable[[str], None]


def start(settings: Settings, say: Say, *, only_local: bool = False) -> str:
    """Start the local Ray and return its address; of several processes that do so at once, one starts it.

    Args:
        settings: its size, and how long it may take.
        say: receives progress messages.
        only_local: start it also where another Ray of this user runs on this machine.

    Raises:
        CannotConnect: it does not start; the message has the reason, the hint the end of the log that shows it.
    """
    check_base()
    with _one_at_a_time(settings.start_seconds, say):
        if address := this_machine.running_cluster(only_local=only_local):
            return address
        say(_announcement())
        try:
            return _start_once(settings, say)
        except _MayWork as failure:
            say(gettext("{error} Trying once more ...", error=failure.error.message))
        try:
            return _start_once(settings, say)
        except _MayWork as failure:
            raise failure.error from None


def stop(head: this_machine.Head) -> None:
    """Stop the local Ray, and kill what has not ended after 20 s."""
    if not this_machine.is_head(head.pid):  # it has ended, and its id may be another process's by now
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(head.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while this_machine.is_head(head.pid):
        if time.monotonic() > deadline:
            kill_session(head.pid)
            return
        time.sleep(POLL_SECONDS)


def _announcement() -> str:
    foreign = this_machine.foreign_cluster()
    if foreign is None:
        return gettext("Ray is not running on this machine: starting a local one, which runs until `shutdown` ...")
    address, user = foreign
    return gettext(
        "The Ray at {address} belongs to user {user}: starting one of your own, which runs until `shutdown` ...",
        address=address,
        user=user,
    )


class _MayWork(Exception):
    """A start has failed in a way that a second try may mend."""

    def __init__(self, error: CannotConnect) -> None:
        super().__init__(error)
        self.error = error


class _Waiting:
    """A wait with a deadline, which reports after a second, and then every ten, what is waited for.

    Args:
        seconds: how long to wait.
        say: receives the reports.
    """

    def __init__(self, seconds: float, say: Say) -> None:
        self._started = time.monotonic()
        self._seconds = seconds
        self._say = say
        self._next = 1.0

    @property
    def passed(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._started

    def over(self, what: str) -> bool:
        """Report when it is time to; return whether the deadline has passed."""
        if self.passed >= self._next:
            self._next = self.passed + STILL_SECONDS
            self._say(gettext("Waiting for {what} ({seconds:.0f} s) ...", what=what, seconds=self.passed))
        return self.passed >= self._seconds


@contextlib.contextmanager
def _one_at_a_time(seconds: float, say: Say) -> Iterator[None]:
    """Hold the lock of this user's local Ray; wait for another process that holds it, up to `seconds`."""
    path = own_folder() / "byzer_head.lock"
    waiting = _Waiting(seconds, say)
    with _opened(path, open_own) as file:
        while not _locked(path, file):
            holder = _holder(file)
            what = gettext("process {pid}, which is starting the local Ray", pid=holder)
            if waiting.over(what if holder else gettext("another process, which is starting the local Ray")):
                raise _held(holder, seconds)
            time.sleep(POLL_SECONDS)
        os.ftruncate(file.fileno(), 0)
        file.write(b"%d\n" % os.getpid())
        file.flush()
        try:
            yield
        finally:
            os.ftruncate(file.fileno(), 0)


def _holder(file: IO[bytes]) -> int:
    """Return the id of the process that holds a lock, which has written it there; 0 where it has not yet."""
    text = os.pread(file.fileno(), 20, 0).strip()
    return int(text) if text.isdigit() and Path(f"/proc/{int(text)}").exists() else 0


def _held(holder: int, seconds: float) -> CannotConnect:
    if not holder:
        return CannotConnect(
            _("Another process has been starting the local Ray for {seconds:g} s.", seconds=seconds),
            _("Wait for that process, or end it; then run the command again."),
        )
    return CannotConnect(
        _("Process {pid} has been starting the local Ray for {seconds:g} s.", pid=holder, seconds=seconds),
        _("Wait for that process, or end it (kill {pid}); then run the command again.", pid=holder),
    )


def _locked(path: Path, file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as err:  # a file system without locks
        raise CannotConnect(_("{path} cannot be locked: {reason}.", path=path, reason=err.strerror), HINT) from err
    return True


def _opened(path: Path, how: Callable[[Path], IO[bytes]]) -> IO[bytes]:
    try:
        return how(path)
    except OSError as err:
        raise CannotConnect(_("{path} cannot be written: {reason}.", path=path, reason=err.strerror), HINT) from err


def _start_once(settings: Settings, say: Say) -> str:
    folder = own_folder()
    if full := start_failures.disk_full(folder):
        raise full
    file = folder / this_machine.HEAD_FILE
    if os.path.lexists(file) and (file.is_symlink() or not file.is_file()):  # it would be written once Ray is up
        raise CannotConnect(_("{path} is not a regular file.", path=file), _("Remove it."))
    log = folder / "byzer_head.log"
    reading, writing = os.pipe()
    pid = 0
    try:
        try:
            pid = _spawn(log, settings, writing)
        finally:
            os.close(writing)
        return _Start(reading, log, say).wait(settings.start_seconds)
    except BaseException:  # also Ctrl-C: nothing of it stays
        if pid:
            kill_session(pid)
        raise
    finally:
        os.close(reading)  # a process that starts a Ray gives up when nobody waits for it


def _spawn(log: Path, settings: Settings, pipe: int) -> int:
    """Start the process that holds the local Ray, detached from this one; return its pid."""
    module = this_machine.HEAD_MODULE
    command = [sys.executable, "-m", module, str(settings.local_cpus), str(settings.local_gpus), str(pipe)]
    try:
        with _opened(log, write_own) as output:
            done = subprocess.run(  # noqa: S603 - our own module
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                check=False,
                env=child_environment(os.environ),
                pass_fds=[pipe],
                timeout=settings.start_seconds,
            )
    except subprocess.TimeoutExpired as err:
        raise start_failures.late(settings.start_seconds, "Python", log, None) from err
    except OSError as err:
        raise start_failures.failed(str(err), log, None)[0] from err
    if done.returncode or not done.stdout.strip().isdigit():
        raise start_failures.failed("", log, None)[0]
    return int(done.stdout)


class _Start:
    """Waits for a local Ray.

    Args:
        pipe: where the process that holds it reports (see `local_head.Holder`).
        log: what that process writes.
        say: receives progress messages.
    """

    def __init__(self, pipe: int, log: Path, say: Say) -> None:
        self._pipe = pipe
        self._log = log
        self._say = say
        self._stage = "Python"
        self._logs: Path | None = None

    def wait(self, seconds: float) -> str:
        """Return the address of the local Ray.

        Raises:
            CannotConnect: it has not started in time, or cannot start.
            _MayWork: it has failed.
        """
        waiting = _Waiting(seconds, self._say)
        unread = b""
        while not waiting.over(self._stage):
            if not select.select([self._pipe], [], [], POLL_SECONDS)[0]:
                continue
            if not (content := os.read(self._pipe, 65536)):
                raise self._error(*self._vanished())
            *lines, unread = (unread + content).split(b"\n")
            for line in lines:
                if address := self._take(json.loads(line)):
                    self._say(gettext("Local Ray is up after {seconds:.1f} s.", seconds=waiting.passed))
                    return address
        raise start_failures.late(seconds, self._stage, self._log, self._logs)

    def _take(self, report: dict[str, Any]) -> str:
        """Take a report; return the address where it has one."""
        self._stage = report.get("stage", self._stage)
        self._logs = Path(report["logs"]) if "logs" in report else self._logs
        if "died" in report and self._logs is not None:
            raise self._error(*start_failures.ended(report["died"], report["code"], self._logs))
        if "died" in report or "failed" in report:
            raise self._error(*start_failures.failed(report.get("failed", ""), self._log, self._logs))
        return str(report.get("address", ""))

    def _vanished(self) -> tuple[CannotConnect, bool]:
        """Return the error for a process that has ended without a report."""
        if self._logs is None:
            return start_failures.failed("", self._log, None)
        return start_failures.ended(self._stage, None, self._logs)

    @staticmethod
    def _error(error: CannotConnect, again: bool) -> Exception:  # noqa: FBT001 - as `start_failures` returns them
        return _MayWork(error) if again else error
