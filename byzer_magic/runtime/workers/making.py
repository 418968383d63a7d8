"""What follows from a plan: its workers, its title and its price."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from byzer_magic.backends import registry
from byzer_magic.catalog import prices
from byzer_magic.local_models.hubs.reference import is_in_hub
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


def title_of(plan: Plan) -> str:
    """Return the provider's name of the model, a model in a hub as typed, or the name of a file."""
    if is_in_hub(plan.spec.model_path):
        return str(plan.spec.model_path)
    return str(plan.setup.params.get("saas.model") or Path(plan.spec.model_path or plan.spec.model).name)


def price_of(plan: Plan) -> prices.Price | None:
    """Return the price of the model, where it is known."""
    url = str(plan.setup.params.get("saas.base_url") or "")
    return prices.find(plan.spec.pretrained_model_type, title_of(plan), url)
