"""What a prompt function asks: a deployed model, behind the three ways of asking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, cast

import msgspec

from byzer_magic.capabilities import Capability
from byzer_magic.client import structured
from byzer_magic.client.chatting import attachments
from byzer_magic.client.converse import converse
from byzer_magic.client.model import Model
from byzer_magic.client.typed import Typed
from byzer_magic.types import ChatRequest

Turns = list[dict[str, Any]]
"""A conversation in OpenAI's form."""


class Asker(Protocol):
    """Answers conversations; the second of each pair is what is known about the response."""

    def ask(self, turns: Turns, options: Mapping[str, Any]) -> tuple[str, Any]:
        """Return a response."""
        ...

    def stream(self, turns: Turns, options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the deltas of a response."""
        ...

    def typed(
        self, turns: Turns, typed: Typed[Any], options: Mapping[str, Any], *, told: bool, prefix: str
    ) -> tuple[Any, Any]:
        """Return the value that a response has.

        Args:
            turns: the conversation.
            typed: how the response is read.
            options: as in `ask`.
            told: whether the prompt itself says what form the response has, so that it is not told again.
            prefix: how the response begins, where the last turn is its beginning.
        """
        ...


class ModelAsker:
    """Asks a `Model`; options are OpenAI's request fields."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def ask(self, turns: Turns, options: Mapping[str, Any]) -> tuple[str, Any]:
        """Return a response, and its result."""
        result = self._model.chat(turns, **options)
        return result.output, result

    def stream(self, turns: Turns, options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the deltas of a response, and their chunks."""
        for chunk in self._model.stream(turns, **options):
            yield chunk.text, chunk

    def typed(
        self, turns: Turns, typed: Typed[Any], options: Mapping[str, Any], *, told: bool, prefix: str
    ) -> tuple[Any, Any]:
        """Return the value that a response has, and its result."""
        return ask_typed(self._model, turns, typed, options, told=told, prefix=prefix)


def ask_typed(
    model: Model, turns: Turns, typed: Typed[Any], options: Mapping[str, Any], *, told: bool, prefix: str
) -> tuple[Any, Any]:
    """Return the value that a model's response to a conversation has, and its result; see `Asker.typed`."""
    manager, settings = model.manager, dict(options)
    more = {name: settings.pop(name) for name in ("system", "timeout") if name in settings}
    attached = attachments(settings.pop("image", None), settings.pop("audio", None))
    exchange = converse(
        manager,
        model.alias,
        turns,
        options=settings,
        stream=False,
        attached=attached,
        capability=Capability.CHAT,
        **more,
    )
    request = cast("ChatRequest", exchange.request)
    if not told:
        request = msgspec.structs.replace(request, messages=structured.with_text(request.messages, typed.instruction))
    return manager.run(structured.read(manager, model.alias, request, typed, prefix=prefix))
