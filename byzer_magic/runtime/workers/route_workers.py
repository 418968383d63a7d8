"""The workers of a route: each request goes on to another deployment, and to the next one where that fails."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import aclosing, suppress
from typing import Any

from byzer_magic import errors
from byzer_magic.backends.route import KIND, PATIENCE, TO
from byzer_magic.capabilities import Capability, needed_by
from byzer_magic.i18n import Text, lazy_gettext as _, listed
from byzer_magic.plan import Plan
from byzer_magic.routing.arms import Turns, parse
from byzer_magic.routing.breaker import Breaker, is_fault
from byzer_magic.runtime.single_flight import SingleFlight
from byzer_magic.runtime.transport.client import Link
from byzer_magic.runtime.workers.engine_workers import Notify
from byzer_magic.stat import ArmStat, KeyStat
from byzer_magic.types import Dispatched, Item, Loading, Request, Routed, Waiting

LOOK_SECONDS = 5.0
"""How old it may be what a deployment can do: an update may give it another model."""
STAT_SECONDS = 5.0
"""How long a deployment may take to say what it can do."""


class _Skipped(Exception):
    """A deployment is not asked."""

    def __init__(self, why: Text) -> None:
        super().__init__(str(why))
        self.why = why


def _worse(before: errors.ByzerError | None, err: errors.ByzerError) -> errors.ByzerError | None:
    """Return which error of two to raise: what the user can mend is worth more than an outage."""
    if isinstance(err, errors.NotDeployed):  # told with the others
        return before
    return err if before is None or is_fault(before) else before


class RouteWorkers:
    """Workers that ask other deployments, with the interface of `group.Workers`.

    Args:
        plan: the route.
        health: called with a worker's index and its new health.
    """

    keys: tuple[KeyStat, ...] = ()

    def __init__(self, plan: Plan, health: Callable[[int, str], None]) -> None:
        self.capabilities: frozenset[Capability] = frozenset()
        self.pids: dict[int, int] = {}
        self.nodes: dict[int, str] = {}
        self._health = health
        self._arms = parse(str(plan.setup.params[TO]))
        self._patience = float(plan.setup.params[PATIENCE])
        self._turns = Turns(self._arms) if self._arms[0].weight is not None else None
        self._breakers = {arm.alias: Breaker() for arm in self._arms}
        self._requests: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._up: set[int] = set()
        self._can: dict[str, frozenset[Capability]] = {}
        self._looked: dict[str, float] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._links: dict[str, Link] = {}
        self._linking: SingleFlight[Link] = SingleFlight()

    @property
    def arms(self) -> list[ArmStat]:
        """Return the counters of the deployments, in their order."""
        now = time.monotonic()
        return [
            ArmStat(
                arm.alias, arm.weight, self._requests[arm.alias], self._errors[arm.alias], self._skipped[arm.alias],
                breaker.pause(now) if (breaker := self._breakers[arm.alias]).is_open else None,
            )
            for arm in self._arms
        ]  # fmt: skip

    async def add(self, indices: Collection[int], notify: Notify) -> None:
        """Add workers, once it is known what the deployments can do.

        Raises:
            NotDeployed: none of them is there.
        """
        for arm in self._arms:
            notify(Loading(_("checking the capabilities of {alias}", alias=arm.alias)))
            with suppress(
                errors.DeployError, errors.ClusterError, errors.RequestError, TimeoutError
            ):  # it may come later
                await self._learn(arm.alias)
        if not self._can:
            raise errors.NotDeployed(
                _("None of these is deployed: {aliases}.", aliases=listed(arm.alias for arm in self._arms)),
                _("Deploy one of them first."),
            )
        self._up.update(indices)
        for index in indices:
            self._health(index, "up")

    async def _learn(self, alias: str) -> frozenset[Capability]:
        """Return what a deployment can do; what is known of it is looked up anew now and then, while requests go on."""
        if alias not in self._can:
            return await self._look(alias)
        if time.monotonic() - self._looked[alias] > LOOK_SECONDS:
            self._looked[alias] = time.monotonic()
            self._looking[alias] = asyncio.create_task(self._look_again(alias))
        return self._can[alias]

    async def _look(self, alias: str) -> frozenset[Capability]:
        stat = await asyncio.wait_for((await self._link(alias)).call("stat"), STAT_SECONDS)
        if stat.kind == KIND:
            raise errors.BadParameter(
                _("{alias} is a route itself.", alias=alias), _("Name the deployments of that route instead.")
            )
        self._looked[alias] = time.monotonic()
        found = self._can[alias] = frozenset(map(Capability, stat.capabilities))
        before, self.capabilities = self.capabilities, frozenset().union(*self._can.values())
        if self.capabilities != before:
            for index in self._up:
                self._health(index, "up")  # who looks at the health takes the capabilities
        return found

    async def _look_again(self, alias: str) -> None:
        with suppress(errors.ByzerError, TimeoutError):  # the next request finds out what is wrong with it
            await self._look(alias)

    async def _link(self, alias: str) -> Link:
        known = self._links.get(alias)
        if known is None or not known.connected:
            return await self._linking.do(alias, functools.partial(self._found, alias))
        return known

    async def _found(self, alias: str) -> Link:
        from byzer_magic.runtime.cluster import deployments  # it knows the pool, which knows this module

        known = self._links.get(alias)
        found = self._links[alias] = await asyncio.to_thread(deployments.link_to, alias, known)
        if known is not None and known is not found:
            known.retire()
        return found

    async def restart(self, index: int, notify: Notify, *, first: bool) -> None:
        """Look anew what the deployments can do."""
        if first:
            self._can.clear()
            await self.add([index], notify)
        self._health(index, "up")

    async def remove(self, index: int) -> None:
        """Remove a worker."""
        self._up.discard(index)

    async def ask(self, _index: int, capability: Capability, request: Request) -> AsyncIterator[Item | Routed]:
        """Yield which deployment answers, then its items.

        Raises:
            ByzerError: all have failed: what was wrong with the request, else the error of the last one asked.
        """
        skipped: list[tuple[str, Any]] = []
        failure: errors.ByzerError | None = None
        for alias in self._order():
            begun = False
            try:
                async with aclosing(self._through(alias, capability, request)) as items:
                    async for item in items:
                        if not begun:
                            begun = True
                            yield Routed(alias, skipped)
                        yield item
            except _Skipped as err:
                self._skipped[alias] += 1
                skipped.append((alias, err.why))
            except errors.ByzerError as err:
                if begun:
                    raise
                failure = _worse(failure, err)
                skipped.append((alias, err.message))
            else:
                return
        raise failure or self._refused(skipped, request)

    async def _through(self, alias: str, capability: Capability, request: Request) -> AsyncGenerator[Item, None]:
        """Yield the items of one deployment's response, and note whether it works.

        Raises:
            _Skipped: it is not asked.
            ByzerError: it failed.
        """
        breaker = self._breakers[alias]
        if not breaker.lets_in(time.monotonic()):
            raise _Skipped(_("skipped after {count} failures in a row", count=breaker.failures))
        asked = False
        try:
            if needed_by(request) - await self._learn(alias):
                raise _Skipped(_("does not support this request"))
            self._requests[alias] += 1
            asked = True
            async with aclosing(self._items(alias, capability, request)) as items:
                async for item in items:
                    yield item
        except TimeoutError as err:
            (self._errors if asked else self._skipped)[alias] += 1
            breaker.failed(time.monotonic())
            raise self._late(alias) from err
        except errors.ByzerError as err:
            if isinstance(err, errors.Unsupported):  # it may have another model by now
                self._can.pop(alias, None)
            (self._errors if asked else self._skipped)[alias] += 1
            if isinstance(err, errors.Unsupported):
                self._can.pop(alias, None)  # it has been updated
            if is_fault(err):
                breaker.failed(time.monotonic())
            else:
                breaker.cancelled()
            raise
        except BaseException:  # not asked, or cancelled by the client
            breaker.cancelled()
            raise
        breaker.worked()

    def _refused(self, skipped: list[tuple[str, Any]], request: Request) -> errors.ByzerError:
        """Return the error for a request that was sent to nobody."""
        why = listed(f"{name}: {reason}" for name, reason in skipped)
        message = _("No deployment of this route can answer: {why}", why=why)
        now = time.monotonic()
        if waits := [breaker.pause(now) for breaker in self._breakers.values() if breaker.is_open]:
            seconds = max(1.0, min(waits))
            return errors.Overloaded(message, _("Try again in {seconds:.0f} s.", seconds=seconds), retry_after=seconds)
        return errors.Unsupported(message, needs=sorted(needed_by(request)))

    def _order(self) -> list[str]:
        """Return the deployments in the order in which they are to be asked."""
        names = [arm.alias for arm in self._arms]
        if self._turns is None:
            return names
        first = self._turns.next()
        return [first, *(name for name in names if name != first)]

    async def _items(self, alias: str, capability: Capability, request: Request) -> AsyncGenerator[Item, None]:
        link = await self._link(alias)
        async with aclosing(link.stream(capability.value, request)) as items:  # type: ignore[type-var]  # a generator
            async with asyncio.timeout(self._patience) as deadline:
                async for item in items:
                    if isinstance(item, Dispatched | Waiting):
                        continue
                    deadline.reschedule(None)
                    yield item

    def _late(self, alias: str) -> errors.DeadlineExceeded:
        return errors.DeadlineExceeded(
            _("{alias} returned nothing within {seconds:g} s.", alias=alias, seconds=self._patience),
            _("Set a longer --patience for the route."),
        )

    def all_pids(self) -> list[int]:
        """Return the workers' own processes: there are none."""
        return []

    async def log(self, _lines: int) -> list[str]:
        """Return the lines in logs of their own: there are none."""
        return []

    async def close(self) -> None:
        """Close the connections."""
        for looking in self._looking.values():
            looking.cancel()
        for link in self._links.values():
            await link.close()
        self._links.clear()
