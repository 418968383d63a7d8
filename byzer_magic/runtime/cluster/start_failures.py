"""Why a local Ray did not start: which log has the reason, what it says, and what to do."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from byzer_magic.errors import CannotConnect
from byzer_magic.i18n import Text, lazy_gettext as _

LINES = 5
"""How many lines of a log a message quotes."""
LINE_CHARACTERS = 400
TAIL_BYTES = 64 * 1024
LEAST_BYTES = 4 * 1024 * 1024
"""A disk with less space is full: a session's first logs take about as much."""


class Cause(NamedTuple):
    """A reason that a log shows."""

    pattern: re.Pattern[str]
    message: Text
    hint: Text
    again: bool = False
    """Whether a second try may succeed."""


MEMORY = _("Free memory, or lower BYZER_LOCAL_CPUS, with which fewer processes are started.")
DISK_FULL = Cause(
    re.compile(r"No space left on device|Disk quota exceeded|\bENOSPC\b|\bEDQUOT\b"),
    _("The local Ray could not start: the disk with {folder} is full."),
    _("Free some space, or set RAY_TMPDIR to a folder on another disk."),
)
CAUSES = (
    DISK_FULL,
    Cause(
        re.compile(r"(Read-only file system|Permission denied|File exists|Not a directory).{0,400}?/\.ray\b"),
        _("The local Ray could not start: it cannot write its token in the folder .ray of your home."),
        _("Make the home folder writable, set HOME to one that is, or set RAY_AUTH_MODE=disabled."),
    ),
    Cause(
        re.compile(r"Read-only file system|Permission denied|\bEACCES\b|\bEROFS\b"),
        _("The local Ray could not start: {process} has no permission for a file or folder."),
        _("Set RAY_TMPDIR to a folder that you can write in; the log names the path."),
    ),
    Cause(
        re.compile(r"AF_UNIX path length|File name too long|path too long"),
        _("The local Ray could not start: {folder} is too long a path for its sockets."),
        _("Set RAY_TMPDIR to a folder with a short path, such as /tmp."),
    ),
    Cause(
        re.compile(r"[Aa]ddress already in use|[Ff]ailed to bind|port conflict|Port \d+ is (already )?in use"),
        _("The local Ray could not start: another process uses a port that {process} needs."),
        _("Run the command again: other ports are chosen. A port that RAY_GCS_SERVER_PORT sets must be free."),
        again=True,
    ),
    Cause(
        re.compile(r"Resource temporarily unavailable|can't start new thread|Too many open files"),
        _("The local Ray could not start: the limit of processes or open files is reached."),
        _("Raise the limits (ulimit -u, ulimit -n), or end some programs."),
    ),
    Cause(
        re.compile(r"Cannot allocate memory|MemoryError|std::bad_alloc|out of memory"),
        _("The local Ray could not start: there is not enough memory."),
        MEMORY,
    ),
)
_NOISE = re.compile(
    r"^\s*(/\S+\(.*\) \[0x|@ |\*\*\* |File \"|[~^]+\s*$|PC: |- The (agent|version) |The raylet fate shares)"
    r"|logging\.cc:\d+:\s+(@|\*\*\*|PC:)"
    r"|^Traceback \(most recent call last\):|^Python runtime state:|^ {4}\S"
    r"|^\[state-dump\]|^\s+\S.* - \d+ total|[Ss]tats:|^(Queueing|Execution) time"
)
"""Lines of stack traces, of general advice and of statistics, which tell a user nothing."""
_TELLING = re.compile(
    r" [CEF] \d+ \d+\] |\b(ERROR|CRITICAL|FATAL)\b|^\w*(Error|Exception)\b|Error: |Exception: |[Ff]ailed"
)
_AGENT = re.compile(r"agent_name = (\w+)|(?:file|for) \S*(metrics|runtime_env|dashboard)_(?:agent|export)\w{0,40}_port")
_APOLOGY = re.compile(r" An unexpected system state has occurred\..{0,400}?we'll work with you to fix it\.")


class Log(NamedTuple):
    """A log, and the lines of it that tell why a process ended."""

    path: Path
    lines: tuple[str, ...]


def of_process(logs: Path, process: str) -> Log | None:
    """Return the log that tells most of a process of Ray; None where there is none that says anything.

    Args:
        logs: the folder of a session's logs.
        process: `gcs_server`, `raylet`, or an agent.
    """
    found = [log for log in map(_read, _files(logs, process)) if log is not None]
    return next(filter(_tells, found), found[0] if found else None)


def ended(process: str, code: int | None, logs: Path) -> tuple[CannotConnect, bool]:
    """Return the error for a process that has ended while Ray was starting, and whether a second try makes sense.

    Args:
        process: `gcs_server` or `raylet`.
        code: its exit code, negative for a signal; None where the process that holds the local Ray has ended with it.
        logs: the folder of the session's logs.
    """
    log = of_process(logs, process)
    if agent := _blamed(log):
        of_agent = of_process(logs, agent)
        log = of_agent if of_agent and _tells(of_agent) else log
    if code != -signal.SIGKILL and (cause := _cause(log, agent or process, logs.parent)):
        return cause
    hint: Text | None = None
    if agent:
        message = _(
            "The local Ray could not start: {agent} failed, and {process} with it.", agent=agent, process=process
        )
    elif code is None:
        message = _("The local Ray could not start: it ended while {process} was starting.", process=process)
    elif code < 0:
        message = _(
            "The local Ray could not start: {process} was killed ({signal}).", process=process, signal=_name(code)
        )
        hint = MEMORY if -code == signal.SIGKILL else None
    else:
        message = _("The local Ray could not start: {process} ended (exit code {code}).", process=process, code=code)
    return CannotConnect(message, _quoting(log, hint)), True


def failed(reason: str, head_log: Path, logs: Path | None) -> tuple[CannotConnect, bool]:
    """Return the error for a Ray whose start has raised an exception, and whether a second try makes sense.

    Args:
        reason: the exception in a line; empty if the process ended without one.
        head_log: what the process that holds the local Ray has written.
        logs: the folder of the session's logs, if there is one.
    """
    log = _read(head_log)
    lines = log.lines if log else ()
    shown = Log(head_log, (*lines, reason)) if reason and reason not in lines else log  # its traceback ends with it
    if cause := _cause(shown, "Ray", head_log.parent):
        return cause
    if logs is not None and "gcs" in reason.lower():
        log = of_process(logs, "gcs_server") or log
    message = (
        _("The local Ray could not start: {reason}", reason=reason) if reason else _("The local Ray could not start.")
    )
    return CannotConnect(message, _quoting(log)), not _LASTING.match(reason)


_LASTING = re.compile(
    r"([\w.]+\.)?(ImportError|ModuleNotFoundError|\w*AttributeError|TypeError|ValueError|SyntaxError)\b"
)
"""Exceptions that a second try would raise again."""


def late(seconds: float, stage: str, head_log: Path, logs: Path | None) -> CannotConnect:
    """Return the error for a Ray that has not started in time.

    Args:
        seconds: how long it was waited for.
        stage: the process that was waited for.
        head_log: what the process that holds the local Ray has written.
        logs: the folder of the session's logs, if there is one.
    """
    log = (of_process(logs, stage) if logs else None) or _read(head_log)
    return CannotConnect(
        _(
            "The local Ray did not start within {seconds:g} s: still waiting for {process}.",
            seconds=seconds,
            process=stage,
        ),
        _quoting(log, _("On a slow or busy machine, allow more time: BYZER_START_SECONDS=300.")),
    )


def disk_full(folder: Path, *, least_bytes: int = LEAST_BYTES) -> CannotConnect | None:
    """Return the error for a folder on a full disk, on which no log can say so; None where there is some space.

    Args:
        folder: where Ray writes.
        least_bytes: what must be free.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return None
    return (
        None if free >= least_bytes else CannotConnect(_filled(DISK_FULL.message, folder=str(folder)), DISK_FULL.hint)
    )


def _cause(log: Log | None, process: str, folder: Path) -> tuple[CannotConnect, bool] | None:
    if full := disk_full(folder):
        return full, False
    for cause in CAUSES:
        if log is not None and any(map(cause.pattern.search, log.lines[-LINES:])):
            message = _filled(cause.message, folder=str(folder), process=process)
            return CannotConnect(message, _quoting(log, cause.hint)), cause.again
    return None


def _filled(template: Text, **values: str) -> Text:
    return Text(template.template, "", values)


def _quoting(log: Log | None, hint: Text | None = None) -> Text | str:
    if log is None:
        return hint or ""
    lines = "\n".join(log.lines[-LINES:])
    if hint is None:
        return _("From {file}:\n{log}", file=str(log.path), log=lines)
    return _("{hint} From {file}:\n{log}", hint=hint, file=str(log.path), log=lines)


def _blamed(log: Log | None) -> str:
    """Return the agent for which a raylet has ended, which its log names; else an empty string."""
    for line in log.lines if log else ():
        if match := _AGENT.search(line):
            return match[1] or ("runtime_env_agent" if match[2] == "runtime_env" else "dashboard_agent")
    return ""


def _tells(log: Log) -> bool:
    return any(map(_TELLING.search, log.lines))


def _files(logs: Path, process: str) -> Iterator[Path]:
    """Yield a process's files, the one first that most often has the reason."""
    yield from (logs / f"{process}{suffix}" for suffix in (".err", ".out", ".log"))


def _read(path: Path) -> Log | None:
    """Return the end of a log without stack frames: only errors, unless it has none or is a process's stderr."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return None
    lines = [line for line in text.splitlines() if line.strip() and not _NOISE.search(line)]
    telling = [] if path.suffix == ".err" else [line for line in lines if _TELLING.search(line)]
    shown = tuple(_APOLOGY.sub("", line).rstrip()[:LINE_CHARACTERS] for line in telling or lines)
    return Log(path, shown[-20:]) if shown else None


def _name(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
