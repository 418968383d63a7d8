"""Loading weights: progress, and why it failed."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from byzer_magic.backends.base import Report
from byzer_magic.backends.engine import threads
from byzer_magic.errors import ByzerError, EngineFailed
from byzer_magic.i18n import join, lazy_gettext as _
from byzer_magic.local_models import hardware

LOOK_SECONDS = 0.5
GPU_LOOK_SECONDS = 2.0

_REASONS = (
    (threads.OUT_OF_MEMORY,
     _("not enough memory"),
     _("Use a smaller or quantized model or a shorter context, or undeploy something; %byzer doctor shows the "
       "free memory.")),
    (("tokenizer", "sentencepiece", "vocab.json"),
     _("the tokenizer cannot be loaded"),
     _("Copy the tokenizer's files into the folder, or download the model again.")),
    (("trust_remote_code", "trust remote code", "custom code"),
     _("the model needs its own code"),
     _("If you trust its author, add backend.trust_remote_code=true.")),
    (("does not recognize this architecture", "unrecognized model", "not supported", "unsupported", "model type"),
     _("the architecture is not supported"),
     _("Try another --infer_backend, or a newer version of the engine; %byzer doctor shows what is installed.")),
    (("safetensor", "headertoolarge", "incomplete", "unpickling", "corrupt", "eof", "size mismatch",
      "payload size", "protobuf parsing"),
     _("the files are damaged or inconsistent"),
     _("Download the model again.")),
)  # fmt: skip
"""Words in an engine's message, the reason, and the next step."""
_GPU_HINT = _(
    "Use a smaller or more strongly quantized model or a shorter context, reserve more GPUs (--gpus_per_worker), or "
    "undeploy something; %byzer doctor shows the free memory of the GPUs, and with --model_path what the model needs."
)


_ON_GPU = ("cuda", "hip", "gpu", "vulkan", "device")
"""Words in a message about a GPU's memory."""


def failed(engine: str, path: Path, err: BaseException, own_hint: Callable[[str], str] | None = None) -> ByzerError:
    """Return the error for an engine that could not load `path`: why, and the next step.

    Args:
        engine: its name.
        path: what it was to load.
        err: what it raised.
        own_hint: returns the next step for a message of this engine; empty where the general one is right.
    """
    if isinstance(err, ByzerError):
        return err
    text = " ".join(sentence(err).split()) or type(err).__name__
    own = own_hint(text) if own_hint else ""
    low = f"{type(err).__name__} {text}".lower()
    for words, reason, hint in _REASONS:
        if any(word in low for word in words):
            if words is threads.OUT_OF_MEMORY and any(word in low for word in _ON_GPU):
                hint = _GPU_HINT
            return EngineFailed(
                _(
                    "{engine} cannot load {path}: {reason} ({short}).",
                    engine=engine,
                    path=path,
                    reason=reason,
                    short=_short(text),
                ),
                own or hint,
            )
    message = _("{engine} cannot load {path}: {short}.", engine=engine, path=path, short=_short(text))
    return EngineFailed(message, own)


def sentence(err: BaseException) -> str:
    """Return the message of an exception; pydantic's has a list of them."""
    if not hasattr(err, "errors"):
        return str(err)
    return "; ".join(
        ": ".join([*map(str, each["loc"]), each["msg"].removeprefix("Value error, ")]) for each in err.errors()
    )


def _short(text: str, most: int = 300) -> str:
    text = text.rstrip(". ")
    return text if len(text) <= most else f"{text[:most]} ..."


@contextlib.contextmanager
def watched(report: Report, stage: str, size: int, doing: Callable[[], str] = str) -> Iterator[None]:
    """Report `stage` while the block runs, with the memory that has been taken since: of the computer, and of the GPUs.

    Args:
        report: takes the progress.
        stage: what is loading.
        size: bytes of the weights, to compare the memory with.
        doing: returns what the engine is doing now, where it reports that.
    """
    done = threading.Event()
    start, gpu = memory(), _GpuMemory()

    def poll() -> None:
        while not done.wait(LOOK_SECONDS):
            amounts = _amounts(max(0, memory() - start), gpu.taken(), size)
            report(stage, None, join(*filter(None, (doing(), amounts)), separator=_("; ")))

    report(stage)
    watcher = threading.Thread(target=poll, name="loading", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _amounts(taken: int, on_gpu: int | None, size: int) -> str:
    facts = {"taken": f"{taken / 1e6:,.0f}", "size": f"{size / 1e6:,.0f}"}
    if on_gpu is None:
        return _("{taken} MB in memory, {size} MB on disk", **facts)
    return _("{taken} MB in memory, {on_gpu} MB on the GPU, {size} MB on disk", on_gpu=f"{on_gpu / 1e6:,.0f}", **facts)


class _GpuMemory:
    """The memory taken of the worker's GPUs since this was made, by whichever process."""

    def __init__(self) -> None:
        self._start = hardware.gpu_memory_used()
        self._now = self._start
        self._next = 0.0

    def taken(self) -> int | None:
        """Return the number of bytes; None without a GPU, or if its memory cannot be read."""
        if self._start is None:
            return None
        if (now := time.monotonic()) >= self._next:  # each look is a process
            self._next = now + GPU_LOOK_SECONDS
            self._now = hardware.gpu_memory_used()
        return None if self._now is None else max(0, self._now - self._start)


@contextlib.contextmanager
def captured_output() -> Iterator[Callable[[], str]]:
    """Return a function that returns what this process and its children have written to stderr and stdout since.

    Engines report the cause of a failure there, from processes of their own. Only files can be read back; Ray's
    workers write into files.
    """
    marks = {}
    for number in (1, 2):
        with contextlib.suppress(OSError):
            status = os.fstat(number)
            if stat.S_ISREG(status.st_mode):
                marks[number] = status.st_size

    def output() -> str:
        text = ""
        for number, start in marks.items():
            with contextlib.suppress(OSError), Path(f"/proc/self/fd/{number}").open("rb") as file:
                file.seek(start)
                text += file.read().decode(errors="replace")
        return text

    yield output


def cause(text: str) -> str:
    """Return the last line of an engine's output that names an error other than the consequences of one, or ""."""
    found = [match[1] for match in _ERROR.finditer(text)]
    return next((line for line in reversed(found) if not _CONSEQUENCE.search(line)), "")


_ERROR = re.compile(
    r"^(?:\([^)\n]{0,200}\)[^\S\n]*)?(?:ERROR\s[^\]\n]{0,200}\][^\S\n]*)?((?:\w+\.)*\w*(?:Error|Exception): .+)$",
    re.MULTILINE,
)
_CONSEQUENCE = re.compile(r"Engine core initialization failed|WorkerProc initialization failed|EngineDeadError")


def memory(pid: int | None = None) -> int:
    """Return the memory of a process and its descendants, in bytes; 0 when it cannot be read."""
    import psutil

    try:
        top = psutil.Process(pid)
        return sum(process.memory_info().rss for process in (top, *top.children(recursive=True)))
    except psutil.Error:
        return 0


def cpu_threads(cpus: float) -> int:
    """Return the number of threads: BYZER_ENGINE_THREADS, else `cpus` when it is 1 or more, else all cores.

    A share below one (`--cpus_per_worker 0.001`) means "do not reserve a CPU", not "use one thread".
    """
    if given := os.environ.get("BYZER_ENGINE_THREADS"):
        return int(given)
    if cpus >= 1:
        return int(cpus)
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def prepare_environment(cpus: float) -> int:
    """Set, before torch is imported, the variables that keep engines offline and limit their threads; return the limit.

    Ray sets OMP_NUM_THREADS to 1 for a share below one CPU.
    """
    threads = cpu_threads(cpus)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # weights are local: no engine needs a hub
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    return threads
