"""Models in the .acme format, for byzer-magic."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, ClassVar, Self

from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.capabilities import Capability
from byzer_magic.errors import EngineFailed
from byzer_magic.local_models.engine_facts import MB, EngineFacts, EnginePackage, FileFormat, MemoryFacts
from byzer_magic.types import ChatChunk, ChatRequest, Usage

if TYPE_CHECKING:
    from acme_runtime import Model

CONTEXT = 64
"""Tokens of context when `acme_context` is not given."""


class AcmeBackend(Backend):
    """Chat with a model that the acme runtime runs."""

    info: ClassVar[Info] = Info(
        kind="custom/auto (acme)",
        title="Acme",
        params=(Param(name="acme_context", help="tokens of context", kind="int", default=CONTEXT),),
        capabilities=frozenset({Capability.CHAT}),
        engine=EngineFacts(
            packages=(EnginePackage(module="acme_runtime", distributions=("acme-engine",)),),
            formats=("acme",),
            own_formats=(FileFormat(name="acme", pattern="*.acme", title="an Acme model"),),
            auto={"acme": 10},
            context_param="acme_context",
            memory=MemoryFacts(overhead_bytes=50 * MB, context=CONTEXT),
        ),
    )

    def __init__(self, model: Model) -> None:
        self._model = model

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Load the model in a thread, so that the event loop stays responsive.

        Raises:
            EngineFailed: the file is damaged.
        """
        from acme_runtime import Model

        report("reading the model", None)
        try:
            model = await asyncio.to_thread(Model, str(setup.model_path), setup.params["acme_context"])
        except (ValueError, KeyError) as err:
            raise EngineFailed(f"Acme cannot load {setup.model_path}: {err}.", "Download the model again.") from err
        return cls(model)

    async def close(self) -> None:
        """Free the model."""
        del self._model

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the answer word by word."""
        prompt = str(request.messages[-1].content)
        count = 0
        for word in self._model.generate(prompt):
            count += 1
            yield ChatChunk(word)
        yield ChatChunk("", finish="stop", usage=Usage(len(prompt.split()), count))


BACKEND = AcmeBackend
