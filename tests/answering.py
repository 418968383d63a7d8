"""A manager whose models answer by a function: what is sent can be read, and what comes back is given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from byzer_magic.capabilities import Capability, method_for
from byzer_magic.client.manager import Manager
from byzer_magic.errors import BadRequest
from byzer_magic.stat import ModelStat
from byzer_magic.types import ChatChunk, ChatRequest, Dispatched, Request, Usage
from tests.fleets import model
from tests.pools import Pools

Answer = str | list[Any] | Exception
"""The text of a response, its chunks, or the error in its place."""


class Answering(Manager):
    """Answers each request with the next of some answers, or with what a function of the request returns."""

    def __init__(self, *answers: Answer | Callable[[Any], Answer], capabilities: tuple[str, ...] = ("chat",)) -> None:
        super().__init__(connection=Pools())
        self.requests: list[Any] = []
        self._answers = list(answers)
        self._capabilities = capabilities
        self._learnt: dict[str, set[str]] = {}

    def reach(self, alias: str, address: str = "auto") -> None:
        """Nothing has to be reached."""

    @property
    def connected(self) -> bool:
        return True

    async def capabilities(self, _alias: str) -> frozenset[Capability]:
        return frozenset(map(Capability, self._capabilities))

    def learnt(self, alias: str) -> set[str]:
        return self._learnt.setdefault(alias, set())

    async def stat(self, alias: str) -> ModelStat:
        return model(alias, capabilities=list(self._capabilities))

    async def ask(self, _alias: str, request: Request) -> AsyncIterator[Any]:
        self.requests.append(request)
        assert method_for(request).value in self._capabilities
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        answer = answer(request) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        yield Dispatched(0, 0.0)
        for chunk in chunks(answer) if isinstance(answer, str) else answer:
            yield chunk

    def texts(self, number: int = -1) -> list[tuple[str, Any]]:
        """Role and content of the messages of a request."""
        request = self.requests[number]
        assert isinstance(request, ChatRequest)
        return [(turn.role, turn.content) for turn in request.messages]


def chunks(text: str) -> list[ChatChunk]:
    """A response, word by word."""
    words = [word + " " for word in text.split(" ")]
    words[-1] = words[-1][:-1]
    return [*map(ChatChunk, words), ChatChunk("", finish="stop", usage=Usage(7, len(words)))]


def called(name: str, arguments: str, number: int = 1) -> list[ChatChunk]:
    """A response that calls a tool."""
    call = {"index": 0, "id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
    return [ChatChunk(tool_calls=[call]), ChatChunk(finish="tool_calls", usage=Usage(7, 4))]


def refuses_schemas(request: ChatRequest, error: type[Exception] = BadRequest) -> Answer:
    """The answer of a provider that takes no JSON schema."""
    return error("response_format is not supported.") if "response_format" in request.options else '{"n": 1}'
