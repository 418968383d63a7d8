"""Chat with a deployed model: complete, streamed, as a value of a type, with functions that it may call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar, cast, overload

from byzer_magic import media
from byzer_magic.capabilities import Capability
from byzer_magic.client import arguments, calling, structured, tools
from byzer_magic.client.converse import aconverse
from byzer_magic.client.manager import Manager
from byzer_magic.client.messages import Prompt
from byzer_magic.results import ChatResult
from byzer_magic.runtime.loop import LOOP
from byzer_magic.types import ChatChunk, Media

T = TypeVar("T")


class Chatting:
    """The chat of a `Model`."""

    def __init__(self, alias: str, manager: Manager) -> None:
        self.alias = alias
        self.manager = manager

    @overload
    def chat(
        self,
        prompt: Prompt,
        *,
        schema: type[T],
        system: str | None = None,
        image: Any = None,
        audio: Any = None,
        timeout: float | None = None,
        **options: Any,
    ) -> T: ...
    @overload
    def chat(
        self, prompt: Prompt, *, schema: None = None, system: str | None = None, image: Any = None, audio: Any = None,
        timeout: float | None = None, **options: Any,
    ) -> ChatResult: ...  # fmt: skip

    def chat(
        self,
        prompt: Prompt,
        *,
        schema: type[Any] | None = None,
        system: str | None = None,
        image: Any = None,
        audio: Any = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Return the complete response to a prompt.

        A model without the chat capability returns the result of its own capability, as notebooks written for
        byzer-llm expect; call `embed`, `speak`, `image`, ... for a typed result.

        Args:
            prompt: a text, a message ``{"role": ..., "content": ...}``, or a list of messages.
            schema: a pydantic model, or any type that pydantic validates: the value is returned in place of the
                response. The provider's JSON schema is used where it has one; a response that is not valid is asked for
                once more.
            system: a system prompt, put before the conversation.
            image: an image to go with the prompt, or a list of them: path, URL, bytes, PIL image, figure.
            audio: audio to go with the prompt: path, bytes, audio widget.
            timeout: deadline for the complete response, in seconds.
            options: OpenAI's request fields, e.g. ``temperature=0.2``, ``max_tokens=100``. Among the ``tools`` may be
                Python functions: they are called, and the model gets what they return, until it answers;
                ``raw["calls"]`` lists the calls. They do not go together with `schema`.

        Raises:
            CommandError: a function cannot be a tool, or there is a `schema`, too.
            NotDeployed: nothing is deployed as this alias.
            MalformedResponse: the response, and the second one, has no value of the type `schema`.
            RequestError: the response is not complete, or the model does not stop calling tools.

        Example:
            >>> model = bz.model("gpt4o_chat")
            >>> model.chat("Say hi in French.", temperature=0).text
            '...'
            >>> model.chat("say:[2, 3, 5]", schema=list[int])
            [2, 3, 5]
        """
        self.manager.reach(self.alias)
        return self.manager.run(self._chat(prompt, schema, system, attachments(image, audio), timeout, options))

    def stream(
        self,
        prompt: Prompt,
        *,
        system: str | None = None,
        image: Any = None,
        audio: Any = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Iterator[ChatChunk]:
        """Yield the deltas of a chat's response; breaking out of the loop stops the model. Arguments as in `chat`.

        Functions are not called: pass JSON schemas as ``tools``, and read the calls from the chunks.

        Raises:
            NotDeployed: nothing is deployed as this alias.
            Unsupported: the model has no chat capability.
            RequestError: the response is not complete.

        Example:
            >>> "".join(chunk.text for chunk in bz.model("gpt4o_chat").stream("Count to three."))
            '...three...'
        """
        self.manager.reach(self.alias)
        return self.manager.iterate(self._deltas(prompt, system, attachments(image, audio), timeout, options))

    @overload
    async def achat(
        self,
        prompt: Prompt,
        *,
        schema: type[T],
        system: str | None = None,
        image: Any = None,
        audio: Any = None,
        timeout: float | None = None,
        **options: Any,
    ) -> T: ...
    @overload
    async def achat(
        self, prompt: Prompt, *, schema: None = None, system: str | None = None, image: Any = None, audio: Any = None,
        timeout: float | None = None, **options: Any,
    ) -> ChatResult: ...  # fmt: skip

    async def achat(
        self,
        prompt: Prompt,
        *,
        schema: type[Any] | None = None,
        system: str | None = None,
        image: Any = None,
        audio: Any = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Like `chat`, for asyncio.

        Example:
            >>> import asyncio
            >>> asyncio.run(bz.model("gpt4o_chat").achat("Say hi in French.")).text
            '...'
        """
        await self._areach()
        return await LOOP.adopt(self._chat(prompt, schema, system, attachments(image, audio), timeout, options))

    def astream(
        self,
        prompt: Prompt,
        *,
        system: str | None = None,
        image: Any = None,
        audio: Any = None,
        timeout: float | None = None,
        **options: Any,
    ) -> AsyncIterator[ChatChunk]:
        """Like `stream`, for asyncio.

        Example:
            >>> import asyncio
            >>> async def count() -> str:
            ...     return "".join([chunk.text async for chunk in bz.model("gpt4o_chat").astream("Count to three.")])
            >>> asyncio.run(count())
            '...three...'
        """
        self.manager.reach(self.alias)
        return LOOP.adopt_iterate(self._deltas(prompt, system, attachments(image, audio), timeout, options))

    async def _areach(self) -> None:
        if not self.manager.connected:  # it may have to connect, which blocks
            await asyncio.to_thread(self.manager.reach, self.alias)

    async def _chat(
        self,
        prompt: Prompt,
        schema: type[Any] | None,
        system: str | None,
        attached: list[Media],
        timeout: float | None,
        options: dict[str, Any],
    ) -> Any:
        more: dict[str, Any] = {"system": system, "attached": attached, "timeout": timeout}
        if schema is not None:
            value, _result = await structured.ask_typed(
                self.manager, self.alias, prompt, schema, options=options, **more
            )
            return value
        if tools.has_functions(options.get("tools")):
            return await calling.ask_with_tools(self.manager, self.alias, prompt, options, **more)
        exchange = await aconverse(self.manager, self.alias, prompt, options=options, stream=False, **more)
        return cast("ChatResult", await exchange.run())  # the docstring of `chat` names the exception

    async def _deltas(
        self, prompt: Prompt, system: str | None, attached: list[Media], timeout: float | None, options: dict[str, Any]
    ) -> AsyncIterator[ChatChunk]:
        exchange = await aconverse(
            self.manager,
            self.alias,
            prompt,
            system=system,
            attached=attached,
            options=options,
            timeout=timeout,
            capability=Capability.CHAT,
        )
        async for item in exchange.items():
            if isinstance(item, ChatChunk):
                yield item


def attachments(image: Any, audio: Any) -> list[Media]:
    """Return the media attached to a prompt."""
    return [*map(media.image, arguments.several(image, "image")), *([] if audio is None else [media.audio(audio)])]
