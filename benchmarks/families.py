"""What a deployment adds to the engines of embeddings and speech: `python benchmarks/families.py [--only bge,...]`.

The same texts and the same audio go to the engine itself by its own API, and to a deployment, in turns, with 1 thread
each: sentence-transformers, faster-whisper, FunASR. Both engines are in processes of the same private Ray: the kernel
shares busy cores between sessions of processes (autogroups), so that one in this process would have another part of
them. The engine's own calls are timed where it is, and both must return the same.
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

from overhead import Row, print_table
from tables import machine
from ways import private_ray, say

ROOT = str(Path(__file__).parents[1])
TEXTS = [f"Sentence number {number} about a king who had many cats." for number in range(256)]
GOAL, CALL_SECONDS = 0.95, 0.02
"""Speed beside the engine alone; or, of a model that needs only milliseconds, what a call may add."""
Way = Callable[[], Any]
"""Does the work once, and returns what is compared: texts, or a table of embeddings."""


def bge() -> tuple[str, Callable[[str], Way], Callable[[Any], Any]]:
    """Return the model, sentence-transformers' `encode`, and the deployment's `embed`."""
    from tests.models.bge import minilm

    def direct(path: str) -> Way:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(1)
        model = SentenceTransformer(path, device="cpu")
        return lambda: model.encode(TEXTS, normalize_embeddings=True)

    return str(minilm()), direct, lambda model: model.embed(TEXTS)


def whisper() -> tuple[str, Callable[[str], Way], Callable[[Any], Any]]:
    """Return the model, faster-whisper's `transcribe`, and the deployment's, with windows on their own."""
    from tests.models import speech
    from tests.models.whisper import tiny_en_ct2

    file = str(speech.story())

    def direct(path: str) -> Way:
        from faster_whisper import WhisperModel

        model = WhisperModel(path, device="cpu", cpu_threads=1, local_files_only=True)
        how = {"vad_filter": True, "condition_on_previous_text": False}
        return lambda: "".join(segment.text for segment in model.transcribe(file, **how)[0])

    return str(tiny_en_ct2()), direct, lambda model: model.transcribe(file).text


def sensevoice() -> tuple[str, Callable[[str], Way], Callable[[Any], Any]]:
    """Return the model, FunASR's `generate`, and the deployment's `transcribe`, of one short clip."""
    from tests.models.sensevoice import clip, sensevoice as folder

    file = str(clip("fox"))

    def direct(path: str) -> Way:
        from funasr import AutoModel

        names = {"disable_update": True, "disable_pbar": True, "disable_log": True, "log_level": "ERROR"}
        model = AutoModel(model=path, device="cpu", ncpu=1, **names)
        return lambda: model.generate(file, language="auto", use_itn=True)[0]["text"]

    return str(folder()), direct, lambda model: model.transcribe(file, tags="keep").text


FAMILIES = {"bge": bge, "whisper": whisper, "sensevoice": sensevoice}


class Direct:
    """The engine itself, in a process of Ray's."""

    def __init__(self, family: str) -> None:
        sys.path.insert(0, ROOT)
        path, direct, _deployed = FAMILIES[family]()
        self._way = direct(path)

    def once(self) -> tuple[float, Any]:
        """Return how long a call takes, in seconds, and what it returns."""
        return timed(self._way)


def timed(way: Way) -> tuple[float, Any]:
    """Return how long a call takes, in seconds, and what it returns."""
    started = time.perf_counter()
    made = way()
    return time.perf_counter() - started, made


def same(one: Any, other: Any) -> bool:
    """Return whether both engines have done the same work: the same words, or embeddings but for rounding."""
    if isinstance(one, str):
        return one.split() == str(other).split()
    return bool(abs(one - other).max() < 1e-4)


def handle(manager: Any, family: str, path: str) -> Any:
    """Deploy a model of a family, and return its handle."""
    from byzer_magic.client.model import Model
    from byzer_magic.commands.spec import DeploySpec

    spec = DeploySpec(model=family, pretrained_model_type=f"custom/{family}", model_path=path, cpus_per_worker=0.001)
    for _event in manager.iterate(manager.deploy(manager.plan(spec))):
        pass
    manager.reach(family)
    return Model(family, manager)


def compare(manager: Any, family: str, rounds: int) -> Row:
    """Measure a family in turns, and return the row of the table.

    Raises:
        SystemExit: the two return something different.
    """
    import ray  # the private Ray has put its address into the environment

    path, _direct, deployed = FAMILIES[family]()
    say(f"{family}: loading")
    model = handle(manager, family, path)
    engine = ray.remote(num_cpus=0)(Direct).remote(family)

    def own() -> tuple[float, Any]:
        return ray.get(engine.once.remote())  # type: ignore[no-any-return]  # Ray publishes no types of actors

    def ours() -> tuple[float, Any]:
        return timed(lambda: deployed(model))

    found = []
    for turn in range(1 + rounds):
        ways = (own, ours) if turn % 2 else (ours, own)
        made = {way: way() for way in ways}
        if not same(made[own][1], made[ours][1]):
            sys.exit(f"{family}: the engine returns {made[own][1]!r}, the deployment {made[ours][1]!r}")
        found += [(made[own][0], made[ours][0])] if turn else []  # the first warms up
    ray.kill(engine)
    ratio = statistics.median(alone / whole for alone, whole in found)
    alone, whole = (statistics.median(each) for each in zip(*found, strict=True))
    met = ratio >= GOAL or whole - alone <= CALL_SECONDS
    goal = f">= {GOAL} or + {CALL_SECONDS * 1000:.0f} ms"
    return Row(f"{family}: seconds", f"{alone:.3f}", f"{whole:.3f}", f"x {ratio:.3f}", goal, met)


def main() -> None:
    """Measure the families that the command line names, and print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--only", default=",".join(FAMILIES), help="some of bge,whisper,sensevoice")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that Ray goes away then, too
    started, before = time.time(), os.getloadavg()[0]
    rows: list[Row] = []
    with private_ray() as manager:
        rows += [compare(manager, family, options.rounds) for family in options.only.split(",")]
    print_table(rows, machine(before, time.time() - started))


if __name__ == "__main__":
    main()
