"""What is known about the engine that a model is fetched for, before its files can be looked at."""

from __future__ import annotations

from byzer_magic.local_models.hardware import Hardware
from byzer_magic.local_models.hubs.choice import Wish
from byzer_magic.local_models.installed import Engines

GGUF = "gguf"
FOLDER = "transformers"


def wish_for(engine: str | None, worker: Hardware, engines: Engines) -> Wish:
    """Return what to fetch for an engine.

    Args:
        engine: the one that the user has named; None or `auto` leaves the choice to the files.
        worker: what a worker can use.
        engines: all engines, installed or not.
    """
    free = worker.gpu_memory_free() if worker.gpus else None
    free = worker.memory_free if free is None else free
    if engine in (None, "auto"):
        usable = [one.facts.auto for one in engines.values() if one.usable]
        gguf = any(GGUF in formats for formats in usable) and not any(FOLDER in formats for formats in usable)
        return Wish(gguf=gguf, free=free)
    formats = engines[engine].facts.formats if engine in engines else ()
    only = tuple(formats) == (GGUF,)
    return Wish(gguf=only, only_gguf=only, engine=str(engine), free=free)
