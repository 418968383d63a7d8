"""Python's garbage collector in processes that carry many requests."""

from __future__ import annotations

import gc


def tune_collector() -> None:
    """Exclude the objects loaded so far from garbage collection, and collect new ones less often.

    Libraries create very many permanent objects. Scanning them again and again takes a tenth of the time of a pool, or
    of an endpoint, under load.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
