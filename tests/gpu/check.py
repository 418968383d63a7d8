"""Checks on a machine with an NVIDIA GPU: `make test-gpu`, or `python tests/gpu/check.py [STEP ...]`.

Not part of `make test`. Small real models, each step alone, about a minute; a line per check, and a failure ends with
status 1. Steps: doctor zero bge whisper llama transformers halves memory graphs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import byzer_magic as bz
from byzer_magic.actions import doctor
from byzer_magic.errors import ByzerError
from byzer_magic.local_models import hardware

MIB = hardware.MIB
NOISE = 60 * MIB
"""What the memory of an idle card may differ by."""
HOG = """
import sys, torch
free, _total = torch.cuda.mem_get_info()
held = torch.empty(int(free - float(sys.argv[1]) * 2**20), dtype=torch.uint8, device="cuda")
print("held", flush=True); sys.stdin.read()
"""
"""Holds all of the card's memory but so many MiB until its input ends."""

failures = 0


def check(*, ok: bool, what: str, facts: object = "") -> None:
    """Report a check."""
    global failures
    failures += not ok
    print(f"{'PASS' if ok else 'FAIL'} {what}: {facts}", flush=True)


def used() -> int:
    """Return the bytes in use on the card."""
    return hardware.gpu_memory_used() or 0


@contextmanager
def deployed(alias: str, line: str) -> Iterator[tuple[Any, int]]:
    """Yield a model and the bytes that it has taken of the card; check that they are free afterwards."""
    before, started = used(), time.monotonic()
    model = bz.deploy(f"{line} --model {alias}")
    taken = used() - before
    print(f"INFO {alias}: ready in {time.monotonic() - started:.1f} s, {taken / MIB:,.0f} MiB", flush=True)
    try:
        yield model, taken
    finally:
        bz.undeploy(alias, force=True)
        deadline = time.monotonic() + 20
        while used() > before + NOISE and time.monotonic() < deadline:
            time.sleep(0.1)
        check(ok=used() <= before + NOISE, what=f"{alias}: its memory is free again", facts=used() - before)


def refused(line: str) -> ByzerError | None:
    """Deploy what cannot work; return the error."""
    try:
        bz.deploy(f"{line} --model refused")
    except ByzerError as err:
        return err
    bz.undeploy("refused", force=True)
    return None


def chat_line(engine: str, gpus: float, *params: str) -> str:
    """Return the options for SmolLM2 in an engine."""
    from tests.models.smollm2 import smollm2, smollm2_gguf

    path = smollm2_gguf() if engine == "llama_cpp" else smollm2()
    more = f" --infer_params {' '.join(params)}" if params else ""
    return f"--infer_backend {engine} --model_path {path} --gpus_per_worker {gpus}{more}"


def family_line(family: str, gpus: float) -> str:
    """Return the options for a model of a family."""
    from tests.models import bge, whisper

    path = bge.minilm() if family == "bge" else whisper.tiny_en()
    return f"--pretrained_model_type custom/{family} --model_path {path} --gpus_per_worker {gpus}"


def step_doctor() -> None:
    """The card is found, and what vLLM will take of it is what it takes."""
    from tests.models.smollm2 import smollm2

    worker = doctor.Worker(engine="vllm", gpus=1, params={"backend.max_model_len": 2048})
    facts = doctor.model(str(smollm2()), hardware.detect(), worker)["memory"]
    with deployed("flagship", chat_line("vllm", 1, "backend.max_model_len=2048")) as (model, taken):
        share = taken / facts["takes"]
        check(
            ok=0.95 < share < 1.1,
            what="doctor: what vLLM takes",
            facts=f"{share:.3f} of {facts['takes'] / MIB:,.0f} MiB",
        )
        check(ok=bool(model.chat("Hi", max_tokens=5).text), what="vllm answers")


def step_zero() -> None:
    """Without a reservation nothing is taken of the card."""
    lines = {
        "transformers": chat_line("transformers", 0), "llama": chat_line("llama_cpp", 0),
        "bge": family_line("bge", 0), "whisper": family_line("whisper", 0),
    }  # fmt: skip
    for name, line in lines.items():
        with deployed(f"zero_{name}", line) as (_model, taken):
            check(ok=taken <= NOISE, what=f"{name} with 0 GPUs takes nothing", facts=taken)
    for line in (f"{family_line('bge', 0)} --infer_params device=cuda", chat_line("vllm", 0)):
        error = refused(line)
        check(ok=error is not None and "--gpus_per_worker" in error.hint, what="asks for a reservation", facts=error)


def step_bge() -> None:
    """Embeddings are computed on the card, and are those of the CPU."""
    import numpy as np

    texts = [f"Sentence {number} about cats and kings." for number in range(500)]
    found = []
    for gpus in (1, 0):
        with deployed(f"bge{gpus}", family_line("bge", gpus)) as (model, taken):
            started = time.monotonic()
            found.append(np.asarray(model.embed(texts)))
            print(f"INFO bge, {gpus} GPUs: {len(texts) / (time.monotonic() - started):,.0f} texts/s", flush=True)
            check(ok=(taken > 100 * MIB) == bool(gpus), what=f"bge with {gpus} GPUs", facts=taken)
    least = float((found[0] * found[1]).sum(1).min())
    check(ok=least > 0.99, what="bge: the vectors are those of the CPU", facts=least)


def step_whisper() -> None:
    """Speech is transcribed on the card; one that is not there is refused."""
    from tests.models import speech

    with deployed("whisper", family_line("whisper", 1)) as (model, taken):
        text = model.transcribe(str(speech.sentence(0))).text
        check(ok="fox" in text and taken > 100 * MIB, what="whisper on the GPU", facts=(taken, text))
    error = refused(f"{family_line('whisper', 1)} --infer_params device=cuda:1")
    check(
        ok=error is not None and "reserved" in error.message, what="whisper on a card that is not reserved", facts=error
    )


def step_llama() -> None:
    """A build for GPUs puts all layers on the card by default; one for CPUs reports that it does not."""
    with deployed("llama", chat_line("llama_cpp", 1)) as (model, taken):
        print("INFO llama.cpp:", "on the GPU" if taken > NOISE else "built for CPUs", flush=True)
        check(ok=bool(model.chat("Hi", max_tokens=5).text), what="llama answers")


def step_transformers() -> None:
    """The first answer is as quick as the second; eight at once are one batch."""
    with deployed("tr", f"{chat_line('transformers', 1)} --worker_concurrency 8") as (model, taken):
        check(ok=taken > 100 * MIB, what="transformers on the GPU", facts=taken)
        seconds = []
        for _turn in range(2):
            started = time.monotonic()
            model.chat("Hi", max_tokens=2)
            seconds.append(time.monotonic() - started)
        check(ok=seconds[0] < seconds[1] + 0.5, what="the first user does not wait for a warm-up", facts=seconds)


def step_halves() -> None:
    """Two halves of a card fit with the defaults, and their shares are what doctor shows."""
    total = sum(gpu.memory_total or 0 for gpu in hardware.gpus()[:1])
    line = f"{chat_line('vllm', 0.5, 'backend.max_model_len=2048')} --num_workers 2"
    with deployed("halves", line) as (model, taken):
        check(ok=0.85 < taken / total < 0.97, what="two halves share the card", facts=f"{taken / total:.3f}")
        check(ok=all(worker.health == "up" for worker in model.stat().workers), what="both halves are up")


def step_memory() -> None:
    """Too little memory is explained, with a next step."""
    hog = subprocess.Popen(  # this script's own code
        [sys.executable, "-c", HOG, "700"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert hog.stdin
    assert hog.stdout
    hog.stdout.readline()
    try:
        for engine, words in (("vllm", "memory"), ("transformers", "memory"), ("llama_cpp", "memory")):
            error = refused(chat_line(engine, 1))
            ok = error is not None and words in error.message and bool(error.hint)
            if engine == "llama_cpp" and error is None:
                print("INFO llama.cpp fitted, or was built for CPUs", flush=True)
                continue
            check(ok=ok, what=f"{engine} with 700 MiB free", facts=error)
    finally:
        hog.stdin.close()
        hog.wait(30)
    long = chat_line("vllm", 1, "backend.gpu_memory_utilization=0.02", "backend.max_model_len=8192")
    error = refused(long)
    check(ok=error is not None and "gpu_memory_utilization" in error.hint, what="no room for the KV cache", facts=error)


def step_graphs() -> None:
    """CUDA graphs answer faster than none; both speeds are true ones."""
    speeds = {}
    for eager in ("true", "false"):
        params = ("backend.max_model_len=2048", "backend.gpu_memory_utilization=0.3", f"backend.enforce_eager={eager}")
        with deployed(f"eager_{eager}", chat_line("vllm", 1, *params)) as (model, _taken):
            results = [model.chat("Tell me a long story.", max_tokens=128) for _ in range(4)]
            speeds[eager] = max(result.tokens_per_second or 0 for result in results)
    check(ok=speeds["false"] > speeds["true"], what="CUDA graphs, tokens/s without and with", facts=speeds)


STEPS: dict[str, Callable[[], None]] = {
    name.removeprefix("step_"): run for name, run in list(globals().items()) if name.startswith("step_")
}


def main() -> int:
    """Run the steps that the command line names, or all."""
    if not hardware.gpus():
        print("There is no GPU here.")
        return 1
    print("INFO", *(f"{gpu.name} {(gpu.memory_total or 0) / MIB:,.0f} MiB" for gpu in hardware.gpus()), flush=True)
    for name in sys.argv[1:] or STEPS:
        started = time.monotonic()
        try:
            STEPS[name]()
        except Exception as err:  # the other steps go on
            traceback.print_exc()
            check(ok=False, what=name, facts=err)
        print(f"INFO {name}: {time.monotonic() - started:.0f} s", flush=True)
    bz.default_manager().shutdown()
    return min(failures, 1)


if __name__ == "__main__":
    os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")  # it would compile kernels first
    raise SystemExit(main())
