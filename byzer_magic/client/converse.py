"""Asking a deployment, from a prompt to a result: the one way that all faces take.

`converse` builds the request that a prompt means to a model with its capabilities. The `Exchange` it returns is not
sent yet, so that a face can look at the request first; `wait` (blocking) or `run` (asyncio) sends it and drains the
response into a collector, which the face can show meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any, Protocol

from byzer_magic.capabilities import Capability, purpose
from byzer_magic.client import requests
from byzer_magic.client.collect import collector_for
from byzer_magic.client.manager import Manager
from byzer_magic.errors import RequestError
from byzer_magic.results import Result
from byzer_magic.runtime.loop import LOOP
from byzer_magic.types import Media, Message, Request

Prompt = str | Sequence[Mapping[str, Any] | Message]
"""A text, or a conversation in OpenAI's form."""
Show = Callable[[Any], object]
"""Called with each item after the collector has taken it."""


def _ignore(_item: Any) -> None:
    """Show nothing."""


class Asked(Protocol):
    """What answers requests: a manager."""

    def ask(self, alias: str, request: Request, /) -> AsyncIterator[Any]:
        """Yield the response: first Dispatched, then chunks."""
        ...


class Exchange:
    """One request, and its response as it arrives; `collector` can be read at any time, from any thread."""

    def __init__(self, asked: Asked, alias: str, request: Request) -> None:
        self.alias = alias
        self.request = request
        self.collector = collector_for(alias, request)
        self._asked = asked

    async def items(self) -> AsyncIterator[Any]:
        """Send the request and yield each item after the collector has taken it.

        Raises:
            RequestError: the response is incomplete; the error's `partial` is the result of what had arrived.
        """
        self.collector.start()
        try:
            async with aclosing(self._asked.ask(self.alias, self.request)) as items:  # type: ignore[type-var]  # a generator
                async for item in items:
                    self.collector.add(item)
                    yield item
        except RequestError as err:
            err.partial = self.collector.result(interrupted=True)
            raise

    async def run(self, show: Show = _ignore) -> Result:
        """Send the request and return the complete result.

        Raises:
            RequestError: as in `items`.
        """
        async with aclosing(self.items()) as items:  # type: ignore[type-var]  # a generator
            async for item in items:
                show(item)
        return self.collector.result()

    def wait(self, show: Show = _ignore) -> Result:
        """Send the request, block, and return the result; Ctrl-C ends it early, and the result is then `interrupted`.

        Raises:
            RequestError: as in `items`.
        """
        with closing(LOOP.iterate(self.items())) as items:  # type: ignore[type-var]  # a generator
            try:
                for item in items:
                    show(item)
            except KeyboardInterrupt:
                return self.collector.result(interrupted=True)
        return self.collector.result()


async def aconverse(
    manager: Manager,
    alias: str,
    prompt: Prompt,
    *,
    system: str | None = None,
    attached: Sequence[Media] = (),
    options: Mapping[str, Any] | None = None,
    stream: bool = True,
    timeout: float | None = None,
    capability: Capability | None = None,
) -> Exchange:
    """Return the exchange that a prompt is with a deployment; it is not sent yet.

    Args:
        manager: the way to the deployment.
        alias: the deployment, which the manager can reach.
        prompt: a text, or a conversation in OpenAI's form.
        system: a system prompt to put in front.
        attached: images and audio to go with the last message.
        options: OpenAI's request fields.
        stream: whether a chat comes in deltas.
        timeout: seconds until the response must be complete.
        capability: what to ask for; by default what the model is for.

    Raises:
        NotDeployed: there is no such alias.
        CommandError: the prompt lacks what the model needs (audio, documents), or has media that it does not accept.
    """
    wanted = capability or purpose(await manager.capabilities(alias))
    messages = requests.to_messages(prompt, system, attached)
    request = requests.request_for(wanted, messages, dict(options or {}), stream=stream, timeout=timeout)
    return Exchange(manager, alias, request)


def converse(manager: Manager, alias: str, prompt: Prompt, *, address: str = "auto", **more: Any) -> Exchange:
    """Return the exchange that a prompt is with a deployment, for a caller that may block; see `aconverse`.

    Args:
        manager: the way to the deployment.
        alias: the deployment.
        prompt: a text, or a conversation in OpenAI's form.
        address: the Ray cluster to look for it in, ``auto`` or ``host:port``.
        more: as in `aconverse`.

    Raises:
        CannotConnect: there is no Ray to ask, and none can be started.
        NotDeployed: there is no such alias.
        CommandError: as in `aconverse`.
    """
    manager.reach(alias, address)
    return manager.run(aconverse(manager, alias, prompt, **more))
