"""What a deployment adds to the engines of embeddings and speech: `python benchmarks/families.py [--only bge,...]`.

The same texts and the same audio go to the engine itself, in this process by its own API, and to a deployment on a
private Ray, in turns, with 1 thread each: sentence-transformers, faster-whisper, FunASR.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ |= {"BYZER_ENGINE_THREADS": "1", "OMP_NUM_THREADS": "1"}

from overhead import Row, machine, print_table
from ways import private_ray, say

TEXTS = [f"Sentence number {number} about a king who had many cats." for number in range(256)]
GOAL = 0.95
Way = Callable[[], Any]


def bge(manager: Any) -> tuple[Way, Way]:
    """Return sentence-transformers' `encode`, and the deployment's `embed`."""
    import torch
    from sentence_transformers import SentenceTransformer

    from tests.models.bge import minilm

    torch.set_num_threads(1)
    model = SentenceTransformer(str(minilm()), device="cpu")
    deployed = handle(manager, "bge", str(minilm()))
    return lambda: model.encode(TEXTS, normalize_embeddings=True), lambda: deployed.embed(TEXTS)


def whisper(manager: Any) -> tuple[Way, Way]:
    """Return faster-whisper's `transcribe`, and the deployment's."""
    from faster_whisper import WhisperModel

    from tests.models import speech
    from tests.models.whisper import tiny_en_ct2

    model = WhisperModel(str(tiny_en_ct2()), device="cpu", cpu_threads=1, local_files_only=True)
    deployed = handle(manager, "whisper", str(tiny_en_ct2()))
    file = str(speech.story())
    return lambda: list(model.transcribe(file, vad_filter=True)[0]), lambda: deployed.transcribe(file)


def sensevoice(manager: Any) -> tuple[Way, Way]:
    """Return FunASR's `generate`, and the deployment's `transcribe`, of one short clip."""
    from funasr import AutoModel

    from tests.models.sensevoice import clip, sensevoice as folder

    names = {"disable_update": True, "disable_pbar": True, "disable_log": True, "log_level": "ERROR"}
    model = AutoModel(model=str(folder()), device="cpu", ncpu=1, **names)
    deployed = handle(manager, "sensevoice", str(folder()))
    file = str(clip("fox"))
    return lambda: model.generate(file, language="auto"), lambda: deployed.transcribe(file)


FAMILIES = {"bge": bge, "whisper": whisper, "sensevoice": sensevoice}


def handle(manager: Any, family: str, path: str) -> Any:
    """Deploy a model of a family, and return its handle."""
    from byzer_magic.client.model import Model
    from byzer_magic.commands.spec import DeploySpec

    spec = DeploySpec(model=family, pretrained_model_type=f"custom/{family}", model_path=path, cpus_per_worker=0.001)
    for _event in manager.iterate(manager.deploy(manager.plan(spec))):
        pass
    manager.reach(family)
    return Model(family, manager)


def seconds(way: Way) -> float:
    """Return how long one call takes."""
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


def main() -> None:
    """Measure the families that the command line names, and print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--only", default=",".join(FAMILIES), help="some of bge,whisper,sensevoice")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that Ray goes away then, too
    started, before, rows = time.time(), os.getloadavg()[0], []
    with private_ray() as manager:
        for family in options.only.split(","):
            say(f"{family}: loading")
            own, ours = FAMILIES[family](manager)
            found = []
            for turn in range(1 + options.rounds):
                pair = [seconds(own), seconds(ours)] if turn % 2 else [seconds(ours), seconds(own)][::-1]
                found += [pair] if turn else []  # the first warms up
            ratio = statistics.median(a / b for a, b in found)
            shown = [f"{statistics.median(each):.3f}" for each in zip(*found, strict=True)]
            rows.append(Row(f"{family}: seconds", *shown, f"x {ratio:.3f}", f">= {GOAL}", ratio >= GOAL))
    print_table(rows, machine(before, time.time() - started))


if __name__ == "__main__":
    main()
