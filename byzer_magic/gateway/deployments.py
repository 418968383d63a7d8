"""The deployments behind the endpoint: which names clients have for them, what they can do, and asking them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from byzer_magic import errors
from byzer_magic.capabilities import Trait
from byzer_magic.client.capable import capable_hint
from byzer_magic.client.manager import Manager
from byzer_magic.commands.aliases import ADAPTER, near, readings
from byzer_magic.gateway.access import Client
from byzer_magic.gateway.names import with_name
from byzer_magic.gateway.problems import Problem, bad
from byzer_magic.i18n import gettext as _, lazy_gettext, listed
from byzer_magic.stat import ModelStat
from byzer_magic.types import Request

LIST_SECONDS = 1.0
"""How old the list of deployments may be."""
FACTS_SECONDS = 30.0
"""How old the facts about a deployment may be: it may have been replaced by another of the same alias."""


LOST = (errors.ClusterError, errors.WorkerLost)
"""What a cluster that was restarted is found by."""
T = TypeVar("T")


class Deployed(Protocol):
    """What the endpoint needs of a manager; `Manager` has it."""

    def ask(self, alias: str, request: Request, /) -> AsyncIterator[Any]:
        """Yield the response: Waiting while it is queued, then Dispatched, then chunks."""
        ...

    async def named(self, name: str, /) -> tuple[str, str]:
        """Return the alias and the LoRA adapter that a name stands for."""
        ...

    async def stat(self, alias: str, /) -> ModelStat:
        """Return the counters of one deployment."""
        ...

    async def stats(self) -> list[ModelStat]:
        """Return the counters of all deployments that answer."""
        ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change while a deployment runs."""

    capabilities: frozenset[str]
    traits: frozenset[str]
    """Values of `Trait`."""
    seen: float = 0.0

    @property
    def is_claude(self) -> bool:
        """Return whether its provider has Anthropic's own API."""
        return Trait.ANTHROPIC_FIELDS in self.traits

    @property
    def is_local(self) -> bool:
        """Return whether the model runs in the cluster, so that what it fetches comes from the cluster's network."""
        return Trait.IN_CLUSTER in self.traits

    @property
    def has_json_mode(self) -> bool:
        """Return whether JSON can be asked for without a schema."""
        return Trait.JSON_MODE in self.traits

    @property
    def is_openai(self) -> bool:
        """Return whether its provider has all fields of OpenAI's API."""
        return Trait.OPENAI_FIELDS in self.traits

    @property
    def answers_one(self) -> bool:
        """Return whether several answers to a request must be several requests."""
        return Trait.SEVERAL not in self.traits


class Deployments:
    """All deployments of a cluster, or those that are served, by the names that clients use.

    Args:
        manager: asks them.
        served: aliases by the names that clients use; by default, every alias is a name.
        reconnect: connects again when the cluster does not answer; it may block.
    """

    def __init__(
        self,
        manager: Deployed | Manager,
        served: Mapping[str, str] | None = None,
        reconnect: Callable[[], None] = lambda: None,
    ) -> None:
        self._reconnect = reconnect
        self._manager: Any = manager
        self._served = served
        self._facts: dict[str, Facts] = {}
        self._stats: tuple[float, list[ModelStat]] = (float("-inf"), [])
        self._listing = asyncio.Lock()
        self._joining = asyncio.Lock()
        self._joined = float("-inf")
        """When it last connected again, as time.monotonic()."""

    async def meant(self, name: str) -> tuple[str, str, str]:
        """Return what a client means by a name: the name of a model, its alias, and the LoRA adapter after a colon.

        The alias is empty where the name is of none that is served.
        """
        if self._served is not None:
            found = next((reading for reading in readings(name) if reading[0] in self._served), None)
            return (found[0], self._served[found[0]], found[1]) if found else (name, "", "")
        if ADAPTER not in name:
            return name, name, ""
        alias, adapter = await self._answered(lambda: self._manager.named(name))
        return alias, alias, adapter

    def is_served(self, name: str) -> bool:
        """Return whether there is a name as it is written, as far as that is known without asking the cluster."""
        return name in (self._facts if self._served is None else self._served)

    async def models(self, client: Client) -> list[tuple[str, ModelStat]]:
        """Return the models that a client may use: their names, and their counters."""
        by_alias = {stat.model: stat for stat in await self.stats()}
        names = self._served.items() if self._served is not None else ((alias, alias) for alias in by_alias)
        found = ((name, _of_alias(by_alias, alias)) for name, alias in names if client.sees(name))
        return [(name, stat) for name, stat in found if stat is not None]

    async def stats(self) -> list[ModelStat]:
        """Return the counters of all deployments, at most a second old.

        Raises:
            ClusterError: the cluster does not answer.
        """
        async with self._listing:
            if time.monotonic() - self._stats[0] > LIST_SECONDS:
                self._stats = (time.monotonic(), await self._answered(lambda: self._manager.stats()))
        return self._stats[1]

    async def _answered(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Return what the cluster answers; where it does not, connect again once, for it may have been restarted.

        Raises:
            ClusterError: it does not answer then, either.
        """
        asked = time.monotonic()
        try:
            return await ask()
        except LOST:
            await self._join(asked)
            return await ask()

    async def _join(self, asked: float) -> None:
        """Connect again, unless another call has since a time; all that find the cluster gone wait for one of them."""
        async with self._joining:
            if self._joined < asked:
                await asyncio.to_thread(self._reconnect)
                self._joined = time.monotonic()

    async def facts(self, name: str, client: Client) -> Facts:
        """Return what is known about a model.

        Raises:
            Problem: there is no such model.
        """
        model, alias, _adapter = await self.meant(name)
        known = self._facts.get(alias)
        if known is not None and time.monotonic() - known.seen < FACTS_SECONDS and client.sees(model):
            return known
        if not alias or not client.sees(model):
            raise await self.unknown(name, client)
        try:
            stat = await self._answered(lambda: self._manager.stat(alias))
        except errors.NotDeployed:
            self._facts.pop(alias, None)
            raise await self.unknown(name, client) from None
        except errors.ByzerError as err:
            raise with_name(err, alias, name) from None
        found = self._facts[alias] = Facts(frozenset(stat.capabilities), frozenset(stat.traits), time.monotonic())
        return found

    async def ask(self, name: str, client: Client, request: Request) -> AsyncIterator[Any]:
        """Yield the response of a model: Waiting while it is queued, Dispatched, then the capability's chunks.

        Raises:
            Problem: there is no such model, or the request cannot be sent.
            ByzerError: it could not answer.
        """
        model, alias, adapter = await self.meant(name)
        if not alias or not client.sees(model):
            raise await self.unknown(name, client)
        asked, begun = time.monotonic(), False
        try:
            target = f"{alias}{ADAPTER}{adapter}" if adapter else alias
            for is_last in (False, True):
                try:
                    async with aclosing(self._manager.ask(target, request)) as items:
                        async for item in items:
                            begun = True
                            yield item
                except LOST:  # the cluster is gone; ask again where nothing of the response has come
                    if begun or is_last:
                        raise
                else:
                    return
                await self._join(asked)
        except errors.ByzerError as err:
            self._facts.pop(alias, None)  # they may be of the model before an update
            raise await self._for(client, name, err) from None
        except (OverflowError, UnicodeEncodeError, RecursionError) as err:
            raise bad(_("The request has a value that cannot be sent: {error}.", error=err)) from None

    async def _for(self, client: Client, name: str, err: errors.ByzerError) -> Exception:
        """Return an error of a deployment in terms of the names that a client knows."""
        model, alias, _adapter = await self.meant(name)
        if isinstance(err, errors.Unsupported) and "needs" in err.details:
            err = errors.Unsupported(err.message, await self._hint(err.details["needs"], client), **err.details)
        if isinstance(err, errors.NotDeployed):
            deployed = {stat.model: stat for stat in await self.stats()}
            if _of_alias(deployed, alias) is None:  # else it is there, but has no model loaded
                return await self.unknown(name, client)
        return with_name(err, alias, model)

    async def _hint(self, needs: list[str], client: Client) -> str:
        """Return which models could do it, of those that a client may use."""
        models = await self.models(client)
        return capable_hint(needs, [name for name, stat in models if set(needs) <= set(stat.capabilities)])

    async def unknown(self, name: str, client: Client) -> Problem:
        """Return the problem with a name that no model has, or none that the client may use; it names the nearest."""
        known = [found for found, _stat in await self.models(client)]
        shown = name[: errors.LONGEST_NAME]
        if nearest := near(shown, known):
            message = _("The model {name} does not exist. Did you mean {near}?", name=repr(shown), near=nearest)
        elif known:
            names = listed(known[:SHOWN])
            message = _("The model {name} does not exist. There are: {names}.", name=repr(shown), names=names)
        else:
            message = _("The model {name} does not exist: nothing is deployed.", name=repr(shown))
        return Problem(
            404, message, code="model_not_found", anthropic="not_found_error", param="model", name="NotDeployed"
        )


def _of_alias(by_alias: Mapping[str, ModelStat], name: str) -> ModelStat | None:
    """Return the counters of an alias, which may be followed by a LoRA adapter; None where it is not deployed."""
    return next((by_alias[alias] for alias, _adapter in readings(name) if alias in by_alias), None)


SHOWN = 20
"""Names of models in an error."""


def served(text: str | None) -> dict[str, str] | None:
    """Return aliases by the names under which they are served; None for all of them under their own.

    Args:
        text: aliases or NAME=ALIAS, separated by commas.

    Raises:
        CommandError: a name or an alias is empty.

    Example:
        >>> served("gpt-4o=deepseek_chat, emb")
        {'gpt-4o': 'deepseek_chat', 'emb': 'emb'}
    """
    if text is None:
        return None
    found = {}
    for part in text.split(","):
        name, equals, alias = (piece.strip() for piece in part.partition("="))
        alias = alias if equals else name
        if not (name and alias):
            raise errors.CommandError(
                lazy_gettext("--served_model_name is {value}, in which a name is missing.", value=repr(text)),
                lazy_gettext("Write aliases or NAME=ALIAS, separated by commas."),
            )
        found[name] = alias
    return found
