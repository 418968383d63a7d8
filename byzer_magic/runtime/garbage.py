"""Python's garbage collector in processes that carry many requests, or import an engine."""

from __future__ import annotations

import gc


def relax_collector() -> None:
    """Collect new objects less often: before libraries are imported, whose very many objects stay.

    The imports of vLLM, or of transformers with torch, take a tenth less time. Garbage is still collected.
    """
    gc.set_threshold(50_000, 20, 100)


def tune_collector() -> None:
    """Exclude the objects loaded so far from garbage collection, and collect new ones less often.

    Libraries create very many permanent objects. Scanning them again and again takes a tenth of the time of a pool, or
    of an endpoint, under load.
    """
    gc.collect()
    gc.freeze()
    relax_collector()
