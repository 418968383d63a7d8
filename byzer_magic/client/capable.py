"""The hint that goes with a request for what a model cannot do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Protocol

from byzer_magic.errors import ClusterError
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.stat import ModelStat


class Stats(Protocol):
    """Knows all deployments; `Manager` implements it."""

    def ensure(self) -> None:
        """Connect to the cluster."""

    async def stats(self) -> list[ModelStat]:
        """Return the counters of all deployments that answer."""
        ...


async def capable_of(manager: Stats, needs: Sequence[str]) -> str:
    """Return the hint that names the deployments with all these capabilities."""
    capable: list[str] = []
    with contextlib.suppress(ClusterError):  # the hint is not worth another error
        await asyncio.to_thread(manager.ensure)
        capable = [stat.model for stat in await manager.stats() if set(needs) <= set(stat.capabilities)]
    return capable_hint(needs, capable)


def capable_hint(needs: Sequence[str], capable: Sequence[str]) -> str:
    """Return the hint that goes with a request for what a model cannot do.

    Args:
        needs: the capabilities that it lacks.
        capable: the models that have them.
    """
    what = " + ".join(needs)
    if capable:
        return _("These models have the capability {what}: {aliases}.", what=what, aliases=listed(capable))
    return _("Deploy a model with the capability {what} (`presets` lists them).", what=what)
