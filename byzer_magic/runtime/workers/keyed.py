"""An API with several keys: a backend for each, and a request that one key does not serve is sent with another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from byzer_magic import errors
from byzer_magic.backends.base import Backend, Report, Setup
from byzer_magic.capabilities import Capability
from byzer_magic.commands.secrets import Secret, several
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.log import get_logger
from byzer_magic.routing.keys import Keys, Says
from byzer_magic.stat import KeyStat
from byzer_magic.types import Item, Request

log = get_logger("keys")


class Keyed:
    """Backends of one provider that differ in their keys only; used like one backend.

    Args:
        alias: how errors name the deployment.
        backends: one for each key, in the order of the keys.
    """

    def __init__(self, alias: str, backends: list[Backend]) -> None:
        self._alias = alias
        self._backends = backends
        self._keys = Keys(len(backends))

    def capabilities(self) -> frozenset[Capability]:
        """Return what the model can do."""
        return self._backends[0].capabilities()

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(backend.close() for backend in self._backends))

    def stats(self) -> list[KeyStat]:
        """Return the counters of the keys."""
        return self._keys.stats(time.monotonic())

    async def ask(self, capability: Capability, request: Request) -> AsyncGenerator[Item, None]:
        """Yield the items of a response; before the first one, another key is tried where one does not serve.

        Raises:
            RateLimited: all keys rest; `details["retry_after"]` has the seconds until the first is there again.
            ByzerError: the request failed with the last key, or for a reason that is none of the key.
        """
        started = now = time.monotonic()
        tried: list[int] = []
        failure: errors.ByzerError | None = None
        while (place := self._keys.next(now, tried)) is not None:
            tried.append(place)
            begun = False
            try:
                async with aclosing(self._backends[place].ask(capability, request)) as items:  # type: ignore[type-var]  # a generator
                    async for item in items:
                        if not begun:
                            begun = True
                            self._keys.worked(place)
                        yield item
            except errors.ByzerError as err:
                if not self._is_of_the_key(place, err) or begun:
                    raise
                failure = err
            except BaseException:  # cancelled by the client
                self._keys.cancelled(place)
                raise
            else:
                self._keys.worked(place)  # an answer may have no items
                return
            now = time.monotonic()
        if failure is None or self._keys.is_limited(now):
            raise self._resting(now, request.timeout and request.timeout - (now - started))
        raise failure

    def _is_of_the_key(self, place: int, error: errors.ByzerError) -> bool:
        """Note an error, and return whether the request is to be sent with another key."""
        says = self._keys.failed(place, error, time.monotonic())
        if says not in (Says.LIMITED, Says.REFUSED):
            return False
        log.warning("%s: key %s is %s: %s", self._alias, place + 1, says.value, error.message)
        return True

    def _resting(self, now: float, left: float | None) -> errors.RateLimited:
        """Return the error for a request that no key can serve now.

        Args:
            now: the time.
            left: seconds until the request's deadline; None without one.
        """
        seconds = self._keys.pause(now)
        return errors.RateLimited(
            _(
                "{alias}: no key can be used for {seconds:.0f} s: {keys}",
                alias=self._alias,
                seconds=max(1.0, seconds),
                keys=listed(key.text for key in self._keys.stats(now)),
            ),
            _("Add a key, or lower --worker_concurrency."),
            retry_after=seconds,
            **({"final": True} if left is not None and left < seconds else {}),
        )


async def open_each(kind: type[Backend], setup: Setup, report: Report) -> Backend | Keyed:
    """Open a backend, or one for each key where there are several.

    Args:
        kind: the backend's class.
        setup: the deployment.
        report: receives the progress.
    """
    found = each_key(kind, setup.params)
    if len(found) == 1:
        return await kind.open(setup, report)
    opened: list[Backend] = []
    try:
        for params in found:
            opened.append(await kind.open(replace(setup, params=params), report))  # noqa: PERF401 - those that are open count
    except BaseException:  # a cancelled deploy, too
        for backend in opened:
            await backend.close()
        raise
    return Keyed(setup.model, opened)


def each_key(kind: type[Backend], params: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the parameters with one key each; the same ones where there is one, or none."""
    for param in kind.info.params:
        value = params.get(param.name)
        if param.several and isinstance(value, Secret) and len(keys := several(value.reveal())) > 1:
            return [{**params, param.name: Secret(key)} for key in keys]
    return [params]
