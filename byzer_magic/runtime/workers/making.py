"""What follows from a plan: its workers."""

from __future__ import annotations

from collections.abc import Callable

from byzer_magic.backends import registry
from byzer_magic.plan import Plan
from byzer_magic.runtime.workers.api_workers import ApiWorkers
from byzer_magic.runtime.workers.engine_workers import EngineWorkers
from byzer_magic.runtime.workers.group import Workers
from byzer_magic.runtime.workers.route_workers import RouteWorkers


def workers_of(plan: Plan, health: Callable[[int, str], None]) -> Workers:
    """Return new workers for a plan; `health` gets the index and the state of each that changes."""
    if plan.spec.pretrained_model_type == registry.ROUTE:
        return RouteWorkers(plan, health)
    return (EngineWorkers if plan.backend.info.local else ApiWorkers)(plan, health)
