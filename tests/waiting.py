"""Waiting until something is true. The limit is for what never becomes true: no test may depend on how soon it does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PATIENCE = 60.0
"""Seconds that nothing takes, however busy the machine is: give up then."""


def eventually(true: Callable[[], object], *, pause: float = 0.02) -> bool:
    """Wait until a condition holds, and return whether it does; `pause` is the time between two looks."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


async def happens(true: Callable[[], object], *, pause: float = 0.01) -> bool:
    """Wait as `eventually` does, while the event loop goes on."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(pause)
    return True
