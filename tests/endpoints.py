"""The endpoint in the process of a test: real HTTP, in front of deployments that answer as the test says."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any

import uvicorn

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.commands.aliases import readings
from byzer_magic.gateway import server
from byzer_magic.gateway.access import Access, Neighbours
from byzer_magic.gateway.deployments import Deployments
from byzer_magic.gateway.gateway import Gateway, application
from byzer_magic.gateway.media_urls import MediaUrls
from byzer_magic.runtime.loop import LOOP
from byzer_magic.stat import ModelStat
from byzer_magic.types import ChatChunk, ChatRequest, Dispatched, Request, Usage
from tests.waiting import PATIENCE, eventually

Answer = Callable[[str, Request], Iterable[Any]]


def echo(_alias: str, request: Request) -> Sequence[Any]:
    """Answer a chat with its last text, word by word."""
    assert isinstance(request, ChatRequest)
    content = request.messages[-1].content
    text = content if isinstance(content, str) else str(content)
    words = [ChatChunk(f"{word} ") for word in text.split()]
    return [*words, ChatChunk(finish="stop", usage=Usage(3, len(words)))]


def traits_of(kind: str) -> list[str]:
    """Return the traits of a backend, by the kind that deployments show: ``custom/auto (vllm)``."""
    family, _, engine = kind.partition(" (")
    return sorted(registry.find(family, engine.rstrip(")") or None).info.all_traits)


class Scripted:
    """Deployments that answer with what a function returns; an exception among it is raised.

    Args:
        answer: returns the chunks for an alias and a request.
        kinds: the aliases, and the kind of backend that each claims to be.
    """

    def __init__(self, answer: Answer = echo, **kinds: str) -> None:
        self.answer = answer
        self.kinds = kinds or {"m": "saas/openai"}
        self.traits: dict[str, list[str]] = {}
        """Of kinds that other packages bring; those of ours have their own."""
        self.asked: list[tuple[str, Request]] = []
        self.open = 0
        """Requests that are being answered."""

    async def ask(self, alias: str, request: Request, /) -> AsyncIterator[Any]:
        if (await self.named(alias))[0] not in self.kinds:
            raise errors.NotDeployed(f"No model is deployed as {alias!r}.")
        self.asked.append((alias, request))
        self.open += 1
        try:
            yield Dispatched(0, 0.0)
            for item in self.answer(alias, request):
                if isinstance(item, Exception):
                    raise item
                if hasattr(item, "__await__"):
                    await item
                else:
                    yield item
        finally:
            self.open -= 1

    async def named(self, name: str, /) -> tuple[str, str]:
        return next((reading for reading in readings(name) if reading[0] in self.kinds), (name, ""))

    async def stat(self, alias: str, /) -> ModelStat:
        alias, _adapter = await self.named(alias)
        if alias not in self.kinds:
            raise errors.NotDeployed(f"No model is deployed as {alias!r}.")
        kind = self.kinds[alias]
        traits = self.traits[kind] if kind in self.traits else traits_of(kind)
        return ModelStat(
            model=alias, kind=kind, strategy="lru", capabilities=["chat"], traits=traits, workers=[], concurrency=1
        )

    async def stats(self) -> list[ModelStat]:
        return [await self.stat(alias) for alias in self.kinds]


class Running:
    """An endpoint that serves."""

    def __init__(self, url: str, gateway: Gateway, scripted: Scripted, server: uvicorn.Server) -> None:
        self.url = url
        self.gateway = gateway
        self.scripted = scripted
        self._server = server

    @property
    def clients(self) -> set[Any]:
        """Return the addresses of the clients that are connected."""
        return {getattr(connection, "client", None) for connection in [*self._server.server_state.connections]}

    def until(self, true: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        assert eventually(true), "it did not become true"


@contextlib.contextmanager
def running(
    scripted: Any,
    access: Access | None = None,
    *,
    origins: Sequence[str] = (),
    cors: dict[str, Any] | None = None,
    served: dict[str, str] | None = None,
    media: MediaUrls | None = None,
    certificate: tuple[str, str] | None = None,
) -> Iterator[Running]:
    """Serve deployments on a free port of the loopback address, on the loop of the package."""
    allowed = access or Access()
    neighbours = Neighbours(origins, local=True)
    gateway = Gateway(Deployments(scripted, served), allowed, neighbours, media)
    listening = server.listen("127.0.0.1", 0)
    running = server.prepare(application(gateway, cors), "critical", *(certificate or ()))
    done = LOOP.spawn(server.serve(running, listening))
    try:
        scheme = "https" if certificate else "http"
        yield Running(f"{scheme}://127.0.0.1:{listening.getsockname()[1]}", gateway, scripted, running)
    finally:
        running.should_exit = running.force_exit = True
        done.result(PATIENCE)
