"""Predicting how long requests wait with other workers: a deployment's last minutes, and their replay."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from byzer_magic import errors
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import WhatIfSpec
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.routing.trace import Trace
from byzer_magic.stat import ModelStat, Sample

if TYPE_CHECKING:
    from byzer_magic.routing.what_if import Figures, WhatIf

MOST = 1_000_000
"""Requests that are replayed, at most: they take about a quarter of a minute, and half a gigabyte of memory."""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """The last minutes of a deployment."""

    stat: ModelStat
    samples: list[Sample]
    trace: Trace
    at: float
    """When the trace was read, as Unix time."""

    def wall(self, at: float) -> float:
        """Return the Unix time of a time of the trace."""
        return self.at - (self.trace.now - at)


async def observe(manager: Manager, alias: str) -> Observed:
    """Return the last minutes of a deployment.

    Raises:
        NotDeployed: nothing is deployed as this alias.
        CommandError: it is a route, where nothing waits.
    """
    alias, _adapter = await manager.named(alias)
    stat, samples = await asyncio.gather(manager.stat(alias), manager.history(alias))
    if stat.arms:
        raise errors.CommandError(
            _("{alias} is a route: requests wait in the deployments that it sends them to.", alias=alias),
            _("Choose one of these with --model: {aliases}.", aliases=listed(arm.alias for arm in stat.arms)),
        )
    trace: Trace = await (await manager.connection.link(alias)).call("trace")
    return Observed(stat=stat, samples=samples, trace=trace, at=time.time())


def predict(observed: Observed, spec: WhatIfSpec) -> WhatIf | None:
    """Replay the last minutes of a deployment; return None where no request of these has ended.

    Args:
        observed: the deployment.
        spec: what is to be different.

    Raises:
        CommandError: there would be too many requests.
    """
    if (count := len(observed.trace.requests) * spec.scale_load) > MOST:
        raise errors.CommandError(
            _("--scale_load {times:g} comes to {count} requests; at most {most} are replayed.",
              times=spec.scale_load, count=f"{count:,.0f}", most=f"{MOST:,}"),
            _("Choose a smaller number."),
        )  # fmt: skip
    from byzer_magic.routing.what_if import what_if  # it pulls in statistics, which takes its time to import

    found = what_if(
        observed.trace, spec.changes, scale_load=spec.scale_load, seconds=60 * spec.minutes,
        batches=observed.stat.local,
    )  # fmt: skip
    if found is None or observed.stat.cost is None:
        return found
    since = observed.wall(found.since)
    cost = sum(sample.cost or 0.0 for sample in observed.samples if sample.at > since)
    each = cost / served if (served := found.measured.served) else 0.0

    def priced(figures: Figures) -> Figures:
        return msgspec.structs.replace(figures, cost=each * figures.served)

    return msgspec.structs.replace(
        found, measured=priced(found.measured), replayed=priced(found.replayed),
        predicted=None if found.predicted is None else priced(found.predicted),
        in_turns=None if found.in_turns is None else priced(found.in_turns),
    )  # fmt: skip
