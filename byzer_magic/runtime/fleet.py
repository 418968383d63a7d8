"""What the cluster is to have: kept in a file, and brought back by the controller of the next cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from pathlib import Path

import msgspec

from byzer_magic import errors
from byzer_magic.backends import registry, route
from byzer_magic.commands import env_file
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.i18n import Text, lazy_gettext as _, listed
from byzer_magic.log import get_logger
from byzer_magic.plan import Plan, resolve
from byzer_magic.routing import arms
from byzer_magic.routing.budget import Spent
from byzer_magic.runtime.cluster import desired_state, spending
from byzer_magic.runtime.fleet_file import FleetFile, Wanted, wanted
from byzer_magic.runtime.transport.messages import FleetEntry

RESTORED_AT_ONCE = 4
"""Deployments that are restored at the same time."""
SYNC_SECONDS = 5.0
"""How often the numbers of workers, which pools change by themselves, are looked up."""

log = get_logger("fleet")


class Fleet:
    """The wanted deployments of this cluster.

    Args:
        file: where they are kept.
    """

    def __init__(self, file: FleetFile) -> None:
        self.problem: Text | str = ""
        """Why the file could not be read or written; empty while it could."""
        self._file = file
        self._wanted: dict[str, Wanted] = {}
        self._why: dict[str, errors.ByzerError] = {}
        """Why deployments that are wanted do not run."""
        self._restoring: dict[str, asyncio.Event] = {}
        self._restored: set[str] = set()
        """Deployments that came back, and that nobody has deployed since."""
        try:
            self._wanted = file.read()
        except errors.ConfigError as err:
            self.problem = err.message
            log.warning("the fleet cannot be read: %s", err)

    @property
    def path(self) -> Path:
        """Return the file in which they are kept."""
        return self._file.path

    # ---- what is wanted

    def keep(self, plan: Plan, folder: str, capabilities: list[str]) -> None:
        """Note a deployment that is up."""
        alias = plan.spec.model
        self._why.pop(alias, None)
        if alias not in self._restoring:
            self._restored.discard(alias)
        before = self._wanted.get(alias)
        item = msgspec.structs.replace(wanted(plan, folder, capabilities), spent=before.spent if before else None)
        self._put(self._wanted | {alias: item})

    def forget(self, alias: str) -> bool:
        """Note that a deployment is wanted no longer; return whether it was."""
        self._why.pop(alias, None)
        self._restored.discard(alias)
        if alias not in self._wanted:
            return False
        self._put({name: item for name, item in self._wanted.items() if name != alias})
        return True

    def _put(self, deployments: dict[str, Wanted]) -> None:
        self._wanted = deployments
        if self.problem and self._file.path.exists() and not self._is_readable():
            return  # what is in it is not ours to overwrite
        try:
            self._file.write(deployments)
        except OSError as err:
            self.problem = _("{path} cannot be written: {reason}.", path=self._file.path, reason=err.strerror)
            log.warning("the fleet cannot be kept: %s", err)
        else:
            self.problem = ""

    def _is_readable(self) -> bool:
        try:
            self._file.read()
        except errors.ConfigError:
            return False
        return True

    def spent(self, alias: str) -> Spent | None:
        """Return what a deployment has spent of its budget, until it is forgotten: one that replaces it goes on so."""
        item = self._wanted.get(alias)
        if item is None or not item.spec.budget_usd:
            return None
        return spending.load(item.plan_id) or item.spent

    def running(self, plan: Plan) -> Plan:
        """Return a plan under the id of the deployment that it updates."""
        item = self._wanted.get(plan.spec.model)
        return replace(plan, id=item.plan_id) if item is not None else plan

    def specs(self) -> dict[str, DeploySpec]:
        """Return what is wanted, by alias; models in hubs with the paths at which they were."""
        return {alias: item.located for alias, item in self._wanted.items()}

    def entries(self) -> list[FleetEntry]:
        """Return what is wanted, and why it does not run where that is known."""
        return [
            FleetEntry(
                alias=alias,
                kind=registry.find(item.spec.pretrained_model_type, item.spec.infer_backend).info.kind,
                workers=item.spec.num_workers,
                why=self._why[alias].message if alias in self._why else "",
                hint=self._why[alias].hint if alias in self._why else "",
                restoring=alias in self._restoring,
                spec=item.spec,
                left_out=item.left_out,
            )
            for alias, item in sorted(self._wanted.items())
        ]

    def why_not(self, alias: str) -> errors.NotDeployed | None:
        """Return the error for a deployment that is wanted and could not be restored."""
        if (why := self._why.get(alias)) is None:
            return None
        return errors.NotDeployed(_("{alias} is not running: {why}", alias=alias, why=why.message), why.hint)

    async def sync(self) -> None:
        """Keep looking up how many workers the deployments have been scaled to."""
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            changed = {}
            for alias, item in list(self._wanted.items()):
                if not item.spec.scaling.auto:  # else the number is of the moment: the file has the one to begin with
                    state = await asyncio.to_thread(desired_state.find, item.plan_id)
                    if state is not None and state.workers != item.spec.num_workers:
                        changed[alias] = _scaled(item, state.workers)
                spent = await asyncio.to_thread(spending.load, item.plan_id) if item.spec.budget_usd else None
                if spent is not None and spent != item.spent:
                    changed[alias] = msgspec.structs.replace(changed.get(alias, item), spent=spent)
            if changed:
                self._put(self._wanted | changed)

    # ---- bringing it back

    def is_restored(self, alias: str) -> bool:
        """Return whether a deployment came back by itself, so that one by a user may take its place."""
        return alias in self._restored or alias in self._restoring

    async def settled(self, alias: str) -> None:
        """Wait until a deployment that is being restored is up, or has failed."""
        if event := self._restoring.get(alias):
            await event.wait()

    def begin(self, present: Collection[str]) -> list[str]:
        """Return the deployments that are wanted and not there; requests to them wait from now on."""
        missing = [alias for alias in self._wanted if alias not in present]
        self._restoring = {alias: asyncio.Event() for alias in missing}
        return missing

    def waiting_routes(self, alias: str) -> list[str]:
        """Return the routes that could not be made for want of a deployment which is up now; requests to them wait."""
        found = [
            name
            for name, item in self._wanted.items()
            if name in self._why and _is_route(item) and alias in (arm.alias for arm in arms.parse(_to(item)))
        ]
        for name in found:
            del self._why[name]
            self._restoring[name] = asyncio.Event()
        return found

    async def restore(self, missing: list[str], create: Callable[[Plan, str], Awaitable[None]]) -> None:
        """Deploy what is wanted and not there; what cannot be deployed waits, with the reason.

        Args:
            missing: the aliases, of `begin`.
            create: deploys a plan of a folder, and returns when it is up.
        """
        slots = asyncio.Semaphore(RESTORED_AT_ONCE)

        async def one(alias: str) -> None:
            try:
                async with slots:
                    plan = await asyncio.to_thread(_plan, self._wanted[alias])
                    if (spent := self._wanted[alias].spent) is not None:
                        await asyncio.to_thread(spending.store, plan.id, spent)
                    self._restored.add(alias)
                    await create(plan, self._wanted[alias].folder)
            except errors.ByzerError as err:
                self._restored.discard(alias)
                self._why[alias] = err
                log.warning("%s could not be restored: %s", alias, err)
            finally:
                self._restoring.pop(alias).set()

        routes = [alias for alias in missing if _is_route(self._wanted[alias])]
        await asyncio.gather(*(one(alias) for alias in missing if alias not in routes))
        await asyncio.gather(*map(one, routes))  # which ask the others what they can do


def _is_route(item: Wanted) -> bool:
    return item.spec.pretrained_model_type == registry.ROUTE


def _to(item: Wanted) -> str:
    return item.spec.infer_params.get(route.TO, "")


def _plan(item: Wanted) -> Plan:
    """Return the plan of a deployment as its user would get it in the same folder.

    Raises:
        ByzerError: a key or a file is missing, or a package.
    """
    if item.left_out:
        raise errors.MissingKey(
            _("{params} was typed in the command; secrets are not stored.", params=listed(item.left_out)),
            _("Deploy it again. With ${NAME} from the environment or .env, it comes back by itself."),
        )
    with env_file.lent(Path(item.folder)) as environ:
        try:
            plan = resolve(item.located, {}, environ)
        except errors.NotFetched as err:
            err.hint = _("Deploy it again: that downloads it.")
            raise
    plan = replace(plan, spec=replace(plan.spec, model_path=item.spec.model_path))
    return replace(plan, capabilities=tuple(item.capabilities))


def _scaled(item: Wanted, workers: int) -> Wanted:
    return msgspec.structs.replace(item, spec=replace(item.spec, num_workers=workers))
