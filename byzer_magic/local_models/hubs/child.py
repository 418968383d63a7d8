"""The process that fetches a model: `python -m byzer_magic.local_models.hubs.child`.

A process of its own can be stopped at any moment, whatever the hub's package is waiting for, and reads the variables of
the hub as they are now: the packages read them once, when they are imported.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Protocol

import msgspec

from byzer_magic import errors
from byzer_magic.local_models.hubs import choice, messages
from byzer_magic.local_models.hubs.choice import Choice, File, Wish
from byzer_magic.local_models.hubs.failures import Failures
from byzer_magic.local_models.hubs.messages import GO, Broken, Complete, Got, Job, Planned
from byzer_magic.local_models.hubs.reference import parse
from byzer_magic.log import redact

AT_ONCE = 4
"""Files that are fetched at the same time."""
REPORT_SECONDS = 0.25


class Repository(Protocol):
    """A repository of a hub: `HuggingFace`, `ModelScope`."""

    revision: str
    path: Path

    def files(self) -> list[File]:
        """Ask for the list of all files."""
        ...

    def size_of(self, file: File) -> int:
        """Return how many bytes of a file are there."""
        ...

    def fetch(self, file: File, checking: Callable[[], None], /) -> None:
        """Fetch a file."""
        ...

    def done(self, files: list[File]) -> None:
        """Note that all files are there."""


def main() -> None:
    """Fetch the model of the job on stdin, and report on stdout."""
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what packages print is no report

    def report(message: messages.Report) -> None:
        with suppress(BrokenPipeError):
            pipe.write(messages.write(message))
            pipe.flush()

    try:
        _run(job, report)
    except errors.ByzerError as err:
        secrets = tuple(os.environ.get(name, "") for name in ("HF_TOKEN", "MODELSCOPE_API_TOKEN"))
        err.message, err.hint = redact(err.message, secrets), redact(err.hint, secrets)
        report(Broken(error=errors.to_wire(err)))
    os._exit(0)  # threads of the packages may hang


def _run(job: Job, report: Callable[[messages.Report], None]) -> None:
    reference = parse(job.model)
    repository = _repository(Failures(reference=reference, environ=os.environ, folder=job.folder), Path(job.folder))
    listing = [file for file in repository.files() if _is_below(file.path)]
    wish = Wish(gguf=job.gguf, only_gguf=job.only_gguf, engine=job.engine, free=job.free)
    chosen = choice.choose(reference, listing, wish)
    have = sum(map(repository.size_of, chosen.files))
    report(
        Planned(
            files=len(chosen.files), size=chosen.size, have=have, revision=repository.revision, why=chosen.why,
        )
    )  # fmt: skip
    if sys.stdin.buffer.readline() != GO:
        return
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _fetch(repository, chosen, report)
    repository.done(list(chosen.files))
    report(Complete(path=str(repository.path / chosen.main)))


def _is_below(path: str) -> bool:
    """Return whether a file of a list stays in its folder, as a hub's own lists do."""
    parts = PurePosixPath(path).parts
    return bool(parts) and ".." not in parts and not path.startswith("/") and "\\" not in path


def _repository(failures: Failures, folder: Path) -> Repository:
    if failures.reference.hub == "hf":
        from byzer_magic.local_models.hubs.huggingface import HuggingFace

        return HuggingFace(failures, folder)
    from byzer_magic.local_models.hubs.modelscope import ModelScope

    return ModelScope(failures, folder)


def _end_with_parent() -> None:
    """End when the process that reads the reports has ended, or closes the pipe."""
    sys.stdin.buffer.read()
    os._exit(1)


def _fetch(repository: Repository, chosen: Choice, report: Callable[[messages.Report], None]) -> None:
    """Fetch all files; weights come last, so that a folder that has them is complete."""
    weights = [file for file in chosen.files if choice.is_weight(file.path)]
    beside = [file for file in chosen.files if file not in weights]
    checking = threading.Event()

    def tell() -> None:
        report(Got(done=sum(map(repository.size_of, chosen.files)), checking=checking.is_set()))

    threads = ThreadPoolExecutor(AT_ONCE)  # not in a `with`: its end would wait for those that hang
    for step in (beside, weights):
        work = [threads.submit(repository.fetch, file, checking.set) for file in step]
        _wait(work, tell, threads)


def _wait(work: Sequence[Future[None]], tell: Callable[[], None], threads: ThreadPoolExecutor) -> None:
    """Wait until all is fetched, and report meanwhile; the first failure ends the others."""
    left = set(work)
    while left:
        done, left = wait(left, REPORT_SECONDS, FIRST_EXCEPTION)
        if failed := next((one for one in done if one.exception()), None):
            threads.shutdown(wait=False, cancel_futures=True)
            failed.result()
        tell()


if __name__ == "__main__":
    main()
