"""Fetching a model from a hub into its cache, by a process that this one can stop at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec

from byzer_magic import errors
from byzer_magic.errors import FetchError
from byzer_magic.i18n import Text, lazy_gettext as _, lazy_ngettext
from byzer_magic.local_models.hubs import cache, messages
from byzer_magic.local_models.hubs.choice import File, Wish
from byzer_magic.local_models.hubs.failures import Failures
from byzer_magic.local_models.hubs.hub import HUBS
from byzer_magic.local_models.hubs.messages import Broken, Complete, Got, Job, Planned
from byzer_magic.local_models.hubs.reference import parse
from byzer_magic.local_models.memory import readable
from byzer_magic.log import redact
from byzer_magic.types import Fetched, Loading

STALL_SECONDS = 120.0
"""Without a byte for so long, fetching has failed; the packages' own limits, which are shorter, come first."""
RATE_SECONDS = 5.0
"""The rate is that of so many last seconds."""
SPARE_BYTES = 100_000_000
"""What is to stay free on the disk."""
LOG_CHARACTERS = 300
_QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "PYTHONWARNINGS": "ignore",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What would be fetched."""

    files: int
    size: int
    """Bytes of all files."""
    have: int
    """Bytes of them that are there."""
    free: int
    """Bytes that are free on the disk."""
    folder: Path
    """The cache that they would be in."""
    why: Text | str = ""
    """Why these files, where others were possible."""

    @property
    def missing(self) -> int:
        """Return the bytes that would be fetched."""
        return self.size - self.have


async def preview(model: str, environ: Mapping[str, str], wish: Wish | None = None) -> Preview:
    """Ask the hub what fetching a model would take; nothing is fetched.

    Args:
        model: as typed.
        environ: the environment's variables, those of the hub among them.
        wish: what is known about the engine.

    Raises:
        FetchError: the hub does not have it, or does not give it.
        MissingExtra: the hub's package is not installed.
    """
    async with contextlib.aclosing(_Fetch(model, environ, wish or Wish())) as work:
        return work.preview_of(await work.planned())


async def fetch(model: str, environ: Mapping[str, str], wish: Wish | None = None) -> AsyncIterator[Loading | Fetched]:
    """Fetch a model into its hub's cache, and yield the progress; the last item is `Fetched`.

    What is there already is kept, and what an earlier run has left is gone on with. Closing the iterator stops at once.

    Args:
        model: as typed.
        environ: the environment's variables, those of the hub among them.
        wish: what is known about the engine.

    Raises:
        FetchError: it cannot be fetched; the hint is the next step.
        MissingExtra: the hub's package is not installed.
    """
    started = time.monotonic()
    if HUBS[parse(model).hub].is_offline(environ):
        yield _here(model, environ, wish)
        return
    async with contextlib.aclosing(_Fetch(model, environ, wish or Wish())) as work:
        hub = HUBS[work.reference.hub]
        yield Loading(_("contacting {hub}", hub=hub.title), worker=None)
        planned = await work.planned()
        found = work.preview_of(planned)
        _check_disk(model, found, hub.home)
        stage = lazy_ngettext(
            "downloading {count} file from {hub}", "downloading {count} files from {hub}", count=planned.files,
            hub=hub.title,
        )  # fmt: skip
        rate = _Rate(planned.have)
        if found.missing:
            detail = rate.text(planned.have, planned.size)
            yield Loading(stage, worker=None, fraction=planned.have / planned.size, detail=detail)
        async for item in work.reports():
            if isinstance(item, Complete):
                yield Fetched(
                    path=item.path, size=planned.size, fetched=found.missing, seconds=time.monotonic() - started,
                    why=planned.why,
                )  # fmt: skip
            elif isinstance(item, Got):
                fraction = item.done / planned.size if planned.size else None
                doing = _("verifying checksums") if item.checking and item.done >= planned.size else stage
                yield Loading(doing, worker=None, fraction=fraction, detail=rate.text(item.done, planned.size))


def _here(model: str, environ: Mapping[str, str], wish: Wish | None) -> Fetched:
    """Return what is on this machine, where the hub must not be asked."""
    reference = parse(model)
    path = cache.find(reference, environ, wish)
    if path is None:
        raise Failures(reference=reference, environ=environ, folder="").offline()
    files = cache.files_in(path) if path.is_dir() else [File(path=path.name, size=path.stat().st_size)]
    return Fetched(str(path), sum(file.size for file in files), 0, 0.0)


def _check_disk(model: str, found: Preview, home: str) -> None:
    if found.missing and found.missing + SPARE_BYTES > found.free:
        amounts = {"needed": readable(found.missing), "free": readable(found.free)}
        raise FetchError(
            _("{model} needs {needed} of disk space in {folder}, but only {free} is free.", model=model,
              folder=found.folder, **amounts),
            _("Free some space (%byzer models lists the models on this machine, models rm removes them), or set"
              " {variable} to a folder on a larger disk.", variable=home),
        )  # fmt: skip


class _Rate:
    """How fast bytes come."""

    def __init__(self, have: int) -> None:
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), have)])

    def text(self, done: int, total: int) -> Text:
        """Return what has come of it, and how fast."""
        now = time.monotonic()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > RATE_SECONDS:
            self._seen.popleft()
        then, before = self._seen[0]
        amounts = {"done": readable(done), "total": readable(total)}
        if done <= before or now - then < 0.1:
            return _("{done} of {total}", **amounts)
        return _("{done} of {total}, {rate}/s", **amounts, rate=readable((done - before) / (now - then)))


class _Fetch:
    """The process, from its start to its end."""

    def __init__(self, model: str, environ: Mapping[str, str], wish: Wish) -> None:
        self.reference = parse(model)
        cache.need_package(self.reference.hub)
        self._folder = HUBS[self.reference.hub].folder(environ).absolute()
        self._failures = Failures(reference=self.reference, environ=environ, folder=str(self._folder))
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by aclose
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", f"{__package__}.child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            env={**environ, **_QUIET, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
            start_new_session=True,  # Ctrl-C is for this process, which ends that one
        )  # fmt: skip
        self._stdin: IO[bytes] = self._process.stdin  # type: ignore[assignment]  # it is a pipe
        self._stdout: IO[bytes] = self._process.stdout  # type: ignore[assignment]  # it is a pipe
        self._send(
            messages.write(
                Job(
                    model=model, folder=str(self._folder), gguf=wish.gguf, only_gguf=wish.only_gguf,
                    engine=wish.engine, free=wish.free,
                )
            )
        )  # fmt: skip

    def preview_of(self, planned: Planned) -> Preview:
        """Return what would be fetched, and where to."""
        free = shutil.disk_usage(cache.existing_parent(self._folder)).free
        return Preview(
            files=planned.files, size=planned.size, have=planned.have, free=free, folder=self._folder, why=planned.why,
        )  # fmt: skip

    async def planned(self) -> Planned:
        """Return what the process would fetch."""
        item = await self._next()
        if not isinstance(item, Planned):
            raise self._ended()
        return item

    async def reports(self) -> AsyncIterator[messages.Report]:
        """Have the process begin, and yield what it reports until all is there."""
        self._send(messages.GO)
        last, moved = -1, time.monotonic()
        while True:
            item = await self._next()
            yield item
            if isinstance(item, Complete):
                return
            if isinstance(item, Got) and (item.done != last or item.checking):
                last, moved = item.done, time.monotonic()
            elif time.monotonic() - moved > STALL_SECONDS:
                raise self._failures.stalled(STALL_SECONDS)

    async def aclose(self) -> None:
        """Stop the process."""
        self._process.kill()
        for pipe in (self._stdin, self._stdout, self._log):
            with contextlib.suppress(OSError):
                pipe.close()
        await asyncio.to_thread(self._process.wait)

    def _send(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # it has ended; what it wrote says why
            self._stdin.write(line)
            self._stdin.flush()

    async def _next(self) -> messages.Report:
        reading = asyncio.create_task(asyncio.to_thread(self._stdout.readline))
        try:
            line: Any = await asyncio.wait_for(asyncio.shield(reading), STALL_SECONDS)
        except TimeoutError:
            self._process.kill()
            await reading
            raise self._failures.stalled(STALL_SECONDS) from None
        except asyncio.CancelledError:
            self._process.kill()  # which ends the thread that reads
            await reading
            raise
        try:
            item = messages.read(line)
        except msgspec.MsgspecError:
            raise self._ended() from None
        if isinstance(item, Broken):
            raise errors.from_wire(item.error)
        return item

    def _ended(self) -> FetchError:
        """Return the error of a process that ended without a word."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        reason = redact(lines[-1][-LOG_CHARACTERS:] if lines else "")
        return FetchError(
            _("The process that downloads {model} has ended: {reason}.", model=self.reference, reason=reason or "?"),
            _("Run the command again; the part downloaded so far is kept."),
        )
