"""Ask a deployment: from a prompt to a result. All faces use this module.

`converse` builds the request that fits the prompt and the model's capabilities. The `Exchange` it returns has not been
sent yet, so that a face can inspect the request first; `wait` (blocking) or `run` (asyncio) sends it and drains the
response into a collector, which the face can show meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any, Protocol

from byzer_magic.capabilities import Capability, purpose
from byzer_magic.client import arguments, requests
from byzer_magic.client.collect import Complete, collector_for
from byzer_magic.client.manager import Manager
from byzer_magic.client.messages import Prompt, to_messages
from byzer_magic.errors import DeadlineExceeded, RequestError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.results import Result
from byzer_magic.runtime.loop import LOOP
from byzer_magic.types import Media, Request

Show = Callable[[Any], object]
"""Called with each item after the collector has taken it."""


def _ignore(_item: Any) -> None:
    """Show nothing."""


class Asked(Protocol):
    """Answers requests; `Manager` implements it."""

    def ask(self, alias: str, request: Request, /) -> AsyncIterator[Any]:
        """Yield the response: Waiting while it is queued, then Dispatched, then chunks."""
        ...


class Exchange:
    """One request, and its response as it arrives; `collector` can be read at any time, from any thread."""

    def __init__(self, asked: Asked, alias: str, request: Request) -> None:
        self.alias = alias
        self.request = requests.checked(request)
        self.collector = collector_for(alias, self.request)
        self.keep: Callable[[Result], object] = _ignore
        """Called by `wait` with the result, complete or not, before it returns: whatever then fails, it is not lost."""
        self._asked = asked

    async def items(self) -> AsyncIterator[Any]:
        """Send the request and yield each item after the collector has taken it.

        Raises:
            RequestError: the response is incomplete; the error's `partial` is the result so far.
        """
        self.collector.start()
        try:
            async with aclosing(self._asked.ask(self.alias, self.request)) as items:  # type: ignore[type-var]  # a generator
                async for item in items:
                    self.collector.add(item)
                    if not isinstance(item, Complete):
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

        A response of which all has arrived is complete, also where it has not been written into the journal yet.

        Raises:
            RequestError: as in `items`.
        """
        interrupted = False
        try:
            with closing(LOOP.iterate(self.items())) as items:  # type: ignore[type-var]  # a generator
                for item in items:
                    show(item)
        except KeyboardInterrupt:
            interrupted = not self.collector.complete
        except RequestError as err:
            if err.partial is not None:
                self.keep(err.partial)
            raise
        except Exception:  # of what shows it
            if self.collector.progress.done:
                self.keep(self.collector.result(interrupted=not self.collector.complete))
            raise
        result = self.collector.result(interrupted=interrupted)
        self.keep(result)
        return result


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
    """Return the exchange for a prompt to a deployment; it has not been sent yet.

    Args:
        manager: connects to the deployment.
        alias: the deployment, which the manager can reach.
        prompt: a text, or a conversation in OpenAI's form.
        system: a system prompt, put before the conversation.
        attached: images and audio to go with the last message.
        options: OpenAI's request fields.
        stream: whether a chat's response arrives in deltas.
        timeout: deadline for the complete response, in seconds.
        capability: what to ask for; by default the model's main one.

    Raises:
        NotDeployed: nothing is deployed as this alias.
        DeadlineExceeded: the model was still loading when the timeout ended.
        CommandError: the prompt lacks what the model needs (audio, documents), or has media that it does not accept.
    """
    timeout = arguments.seconds(timeout, "timeout")
    try:
        async with asyncio.timeout(timeout):  # it waits while the model is loading
            wanted = capability or purpose(await manager.capabilities(alias))
    except TimeoutError as err:
        raise DeadlineExceeded(
            _("{alias} was not ready within {seconds:g} s.", alias=alias, seconds=timeout),
            _("Set a longer --timeout."),
        ) from err
    messages = to_messages(prompt, system, attached)
    request = requests.request_for(wanted, messages, arguments.options(options or {}), stream=stream, timeout=timeout)
    return Exchange(manager, alias, request)


def converse(manager: Manager, alias: str, prompt: Prompt, *, address: str = "auto", **more: Any) -> Exchange:
    """Return the exchange for a prompt to a deployment, for a caller that may block; see `aconverse`.

    Args:
        manager: connects to the deployment.
        alias: the deployment.
        prompt: a text, or a conversation in OpenAI's form.
        address: the Ray cluster to look for it in, ``auto`` or ``host:port``.
        more: as in `aconverse`.

    Raises:
        CannotConnect: no Ray is running, and none can be started.
        NotDeployed: nothing is deployed as this alias.
        CommandError: as in `aconverse`.
    """
    manager.reach(alias, address)
    return manager.run(aconverse(manager, alias, prompt, **more))
