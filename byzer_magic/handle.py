"""A deployed model as a Python object: `bz.model("alias").chat("hi").text`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from byzer_magic.answer import Answer, to_messages
from byzer_magic.manager import Manager
from byzer_magic.results import ChatResult
from byzer_magic.runtime.loop import LOOP
from byzer_magic.stat import ModelStat
from byzer_magic.types import ChatChunk, ChatRequest

if TYPE_CHECKING:
    from byzer_magic.types import Dispatched


class Model:
    """A handle on an alias; cheap to make, safe to share between threads and event loops."""

    def __init__(self, alias: str, manager: Manager) -> None:
        self.alias = alias
        self._manager = manager

    def __repr__(self) -> str:
        return f"Model({self.alias!r})"

    def chat(
        self, prompt: Any, *, system: str | None = None, timeout: float | None = None, **options: Any
    ) -> ChatResult:
        """Return the whole answer to a prompt (text, or messages in OpenAI form).

        Args:
            prompt: the text, or a list of ``{"role": ..., "content": ...}``.
            system: a system prompt put in front.
            timeout: seconds until the whole answer must be there.
            options: OpenAI's request fields, e.g. ``temperature=0.2``, ``max_tokens=100``.

        Raises:
            NotDeployed: nothing runs under the alias.
            RequestError: no whole answer came.
        """
        self._manager.reach(self.alias)
        return self._manager.run(self._collect(_request(prompt, system, timeout, options, stream=False)))

    def stream(
        self, prompt: Any, *, system: str | None = None, timeout: float | None = None, **options: Any
    ) -> Iterator[ChatChunk]:
        """Yield the answer's deltas; breaking out of the loop stops the model. Arguments as in `chat`."""
        self._manager.reach(self.alias)
        return self._manager.iterate(self._deltas(_request(prompt, system, timeout, options, stream=True)))

    async def achat(
        self, prompt: Any, *, system: str | None = None, timeout: float | None = None, **options: Any
    ) -> ChatResult:
        """Like `chat`, for asyncio."""
        if not self._manager.connected:  # it may have to connect, which blocks
            await asyncio.to_thread(self._manager.reach, self.alias)
        return await LOOP.adopt(self._collect(_request(prompt, system, timeout, options, stream=False)))

    def astream(
        self, prompt: Any, *, system: str | None = None, timeout: float | None = None, **options: Any
    ) -> AsyncIterator[ChatChunk]:
        """Like `stream`, for asyncio."""
        self._manager.reach(self.alias)
        return LOOP.adopt_iterate(self._deltas(_request(prompt, system, timeout, options, stream=True)))

    def stat(self) -> ModelStat:
        """Return the deployment's counters."""
        self._manager.reach(self.alias)
        return self._manager.run(self._manager.stat(self.alias))

    async def _collect(self, request: ChatRequest) -> ChatResult:
        answer = Answer(self.alias)
        async for item in self._manager.ask(self.alias, request):
            answer.add(item)
        return answer.result()

    async def _deltas(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        item: ChatChunk | Dispatched
        async for item in self._manager.ask(self.alias, request):
            if isinstance(item, ChatChunk):
                yield item


def _request(
    prompt: Any, system: str | None, timeout: float | None, options: dict[str, Any], *, stream: bool
) -> ChatRequest:
    return ChatRequest(messages=to_messages(prompt, system), options=options, stream=stream, timeout=timeout)
