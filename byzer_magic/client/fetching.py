"""Models in hubs, for the faces: fetching one, and the plan of a deployment whose model is fetched first."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from byzer_magic.client.manager import Manager
from byzer_magic.client.replaying import REPLAY
from byzer_magic.commands import env_file
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import NotFetched
from byzer_magic.types import Event

if TYPE_CHECKING:
    from byzer_magic.local_models.hubs.fetch import Preview
    from byzer_magic.plan import Plan

ANY = DeploySpec(model="any")
"""Stands for a deployment of which nothing is known."""


async def fetch(model: str, spec: DeploySpec = ANY) -> AsyncIterator[Event]:
    """Fetch a model from its hub into the cache of this machine and yield events; the last one is Fetched.

    Args:
        model: as typed: `hf:OWNER/REPO`, `ms:OWNER/REPO:FILE`.
        spec: the deployment that it is for.

    Raises:
        FetchError: it cannot be fetched; the hint is the next step.
        MissingExtra: the hub's package is not installed.
    """
    from byzer_magic.local_models.hubs.fetch import fetch as fetched
    from byzer_magic.local_models.hubs.variables import of_hubs
    from byzer_magic.plan import wish_of

    with env_file.lent() as environ:
        async with aclosing(fetched(model, of_hubs(environ), wish_of(spec))) as events:  # type: ignore[type-var]  # a generator
            async for event in events:
                yield event


async def preview(model: str, spec: DeploySpec = ANY) -> Preview:
    """Ask a hub what fetching a model would take; nothing is fetched.

    Raises:
        FetchError: the hub does not have it, or does not give it.
        MissingExtra: the hub's package is not installed.
    """
    from byzer_magic.local_models.hubs.fetch import preview as previewed
    from byzer_magic.local_models.hubs.variables import of_hubs
    from byzer_magic.plan import wish_of

    with env_file.lent() as environ:
        return await previewed(model, of_hubs(environ), wish_of(spec))


def planned(
    manager: Manager,
    spec: DeploySpec,
    variables: Mapping[str, Any] | None = None,
    typed: Mapping[str, str] | None = None,
    show: Callable[[Iterator[Event]], object] = deque,
) -> Plan:
    """Return the plan of a deployment; what it needs of a hub and is not on this machine is fetched first.

    Args:
        manager: of the face.
        spec: what to deploy; with `dry_run`, nothing is fetched.
        variables: see `Manager.plan`.
        typed: see `Manager.plan`.
        show: shows the events of fetching; it has to use up the iterator.

    Raises:
        ConfigError: something is unknown, missing or invalid.
        FetchError: the model cannot be fetched.
    """
    fetched: set[str] = set()
    while True:
        try:
            return manager.plan(spec, variables, typed)
        except NotFetched as err:
            model = str(err.details["model"])
            if spec.dry_run or model in fetched:
                raise
        show(manager.iterate(fetch(model, spec)))
        fetched.add(model)


def deploy(manager: Manager, spec: DeploySpec) -> None:
    """Deploy a model for a program, and wait until it is ready; while a tape is replayed, nothing is to be done.

    Args:
        manager: of the process.
        spec: what to deploy; with `dry_run`, it is only checked.

    Raises:
        ByzerError: the spec is wrong, or the deployment failed.
    """
    if REPLAY.connection(manager.settings):
        return
    plan = planned(manager, spec)
    if not spec.dry_run:
        manager.ensure(spec.ray_address)
        for _event in manager.iterate(manager.deploy(plan)):
            pass
