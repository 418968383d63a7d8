"""One call of the endpoint: from its first byte to the last of the answer, on any wire."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from byzer_magic import request_ids
from byzer_magic.client import journaling
from byzer_magic.client.collect import AnyCollector, Complete, collector_for
from byzer_magic.gateway import bodies, problems
from byzer_magic.gateway.access import ANONYMOUS, Client
from byzer_magic.gateway.bodies import Gone
from byzer_magic.gateway.meters import Meter, total
from byzer_magic.gateway.problems import Problem
from byzer_magic.gateway.wires import Wire, encode
from byzer_magic.i18n import gettext as _
from byzer_magic.journal.entry import Origin
from byzer_magic.log import get_logger
from byzer_magic.types import ChatRequest, Dispatched, Request, Routed, Usage, Waiting

if TYPE_CHECKING:
    from byzer_magic.gateway.gateway import Gateway

log = get_logger("gateway")

QUIET_SECONDS = 15.0
"""After so long without a byte, a stream gets a sign of life: proxies close silent connections after 60 s."""
UNWATCHED_SECONDS = 0.1
"""Until then nobody looks whether the client has left: a task costs more than what is lost by answering it."""

ONCE = (b"host", b"authorization", b"x-api-key", b"origin", b"content-type", b"x-request-id")
"""Headers of which a request has one at most."""

FROM_CLIENTS = journaling.How(read=False, known=False, origin=Origin("endpoint"))
"""Calls are kept in the journal, where there is one, and answered by the models: clients have caches of their own."""

NOBODY = Client("")
"""Whoever has not shown a key yet."""

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete response."""

    body: Any
    """Bytes, or what JSON is made of."""
    content_type: bytes = b"application/json"
    status: int = 200
    headers: Headers = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Stream:
    """A response that is sent as it comes."""

    items: AsyncIterator[bytes]
    content_type: bytes = b"text/event-stream; charset=utf-8"


Handle = Callable[["Call"], Awaitable[Reply | Stream]]


class Call:
    """A request with its client, and what handlers need to answer it."""

    def __init__(self, gateway: Gateway, wire: Wire, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        self.gateway = gateway
        self.wire = wire
        self.scope = scope
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.serial = secrets.token_hex(16)
        """Part of the ids in the answer: no other call has it, whatever id the client has given its request."""
        self.id = request_ids.checked(self.headers.get(b"x-request-id", b"").decode("latin-1")) or f"req_{self.serial}"
        """That of the request: deployments, providers and all logs have it, too."""
        self.client = NOBODY
        self.body = b""
        self.path = ""
        """The pattern of its path."""
        self.model = ""
        """The name of the model that is asked, once it is known."""
        self._meters: list[Meter] = []
        self._answers = 1
        self.started = time.monotonic()
        self.first: float | None = None
        """When the first piece of the answer came."""
        self.status = 0
        self.problem = ""
        """The class of the error that it has ended with; ``Gone`` when the client left."""
        self._receive = receive
        self._send = send
        self._held = 0
        """Bytes of its body that are counted."""
        self._watching: asyncio.Task[None] | None = None
        self._sent = self.started
        self._sending = False
        self._begun = False
        self._is_text = True
        """Whether an error can be the last part of the answer."""

    # ---- for handlers

    @property
    def usage(self) -> Usage | None:
        """Return the tokens that were reported so far; None where none were."""
        return total([meter.usage for meter in self._meters])

    @property
    def counted(self) -> Usage:
        """Return the tokens so far: as reported, or estimated where nothing was."""
        return total([meter.counted for meter in self._meters]) or Usage()

    async def json(self) -> dict[str, Any]:
        """Return the body as a JSON object.

        Raises:
            Problem: it is not one.
        """
        return await bodies.decoded(self.body)

    def counts_as(self, requests: int, *, apart: bool = True) -> None:
        """Count the call as several requests, for it asks for several answers.

        Args:
            requests: how many.
            apart: whether a deployment is asked for each.

        Raises:
            Problem: they are more than its key has left, or ever.
        """
        if requests > 1:
            self.client.more(requests)
        self._answers = requests if apart else 1

    async def items(self, model: str, request: Request) -> AsyncIterator[Any]:
        """Ask a model; yield the chunks of its response.

        Raises:
            Problem: there is no such model.
            ByzerError: it could not answer.
        """
        self.model, _alias, _adapter = await self.gateway.deployments.meant(model)
        if isinstance(request, ChatRequest):
            request = await self._prepared(model, request)
        meter = Meter(self.client, request, answers=0 if self._meters else self._answers)
        self._meters.append(meter)
        try:
            async with aclosing(self.gateway.deployments.ask(model, self.client, request)) as items:  # type: ignore[type-var]  # a generator
                async for item in items:
                    meter.add(item)
                    if isinstance(item, Dispatched | Waiting | Routed | Complete):
                        continue
                    if self.first is None:
                        self.first = time.monotonic()
                    yield item
            meter.completed()
        except Exception:  # whatever it is, it is raised on
            meter.failed()
            raise
        finally:
            meter.settle()

    async def _prepared(self, model: str, request: ChatRequest) -> ChatRequest:
        """Return a request as its model takes it: with data for URLs, or with what only Claude's API knows."""
        facts = await self.gateway.deployments.facts(model, self.client)
        if facts.is_local:
            messages = await self.gateway.media_urls.fetched(request.messages, self.client, self._take)
            request = msgspec.structs.replace(request, messages=messages)
        beta = self.headers.get(b"anthropic-beta", b"").decode("latin-1")
        if not (facts.is_claude and beta):
            return request
        options = {**request.options, "extra_headers": {"anthropic-beta": beta}}
        return msgspec.structs.replace(request, options=options)

    async def result(self, model: str, request: Request) -> Any:
        """Ask a model; return its complete response, as a result of the request's capability.

        Raises:
            Problem: there is no such model.
            ByzerError: it could not answer.
        """
        collector: AnyCollector = collector_for(model, request)
        async with aclosing(self.items(model, request)) as items:  # type: ignore[type-var]  # a generator
            async for item in items:
                collector.add(item)
        return collector.result()

    # ---- running

    async def run(self, handle: Handle, *, free: bool) -> None:
        """Answer the call.

        Args:
            handle: makes the answer.
            free: whether it needs no key.
        """
        request_ids.CURRENT.set(self.id)  # the task of this call has a context of its own
        journaling.HOW.set(FROM_CLIENTS)
        watch: asyncio.TimerHandle | None = None
        try:
            self._check_headers()
            if not free:
                self.client = self.gateway.access.client(self.headers)
                if self.client.name == ANONYMOUS:
                    self.gateway.neighbours.check(self.scope, self.headers)
            self.body = await bodies.read(self._receive, self.headers.get(b"content-length", b""), self._take)
            self.client.begin()
            task = asyncio.current_task()
            watch = asyncio.get_running_loop().call_later(UNWATCHED_SECONDS, self._start_watch, task)
            await self._answer(await handle(self))
        except Gone:
            self.problem = "Gone"
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            if self.problem != "Gone":
                await self._fail(problems.ending())
        except Exception as err:  # noqa: BLE001 - whatever it is, the client gets an error in its wire's own form
            await self._fail(problems.of(err))
        finally:
            if watch is not None:
                watch.cancel()
            if self._watching is not None:
                self._watching.cancel()
            self.gateway.held.give(self._held)

    def _take(self, count: int) -> None:
        """Count more bytes of the body, until the call is answered."""
        self.gateway.held.take(count)
        self._held += count

    def _start_watch(self, task: asyncio.Task[Any] | None) -> None:
        self._watching = asyncio.create_task(self._watch(task))

    def _check_headers(self) -> None:
        """Check that no header that says who asks for what is there twice: others might read the other one.

        Raises:
            Problem: one is.
        """
        if len(self.headers) == len(self.scope["headers"]):
            return
        names = [name for name, _value in self.scope["headers"]]
        for name in ONCE:
            if names.count(name) > 1:
                raise problems.bad(_("The header {name} is there more than once.", name=name.decode()))

    async def _watch(self, task: asyncio.Task[Any] | None) -> None:
        """Cancel the call when the client leaves, or is given up; keep a silent stream alive meanwhile."""
        while task is not None:
            try:
                message = await asyncio.wait_for(self._receive(), QUIET_SECONDS)
            except TimeoutError:
                await self._ping()  # where nobody reads, it waits until the connection is given up
                continue
            if message["type"] == "http.disconnect":
                self.problem = "Gone"
                task.cancel()
                return

    async def _ping(self) -> None:
        silent = time.monotonic() - self._sent >= QUIET_SECONDS
        if self._pings and silent and not self._sending:
            await self._begin(200, _heads(self._pings))
            await self._write(self.wire.ping)

    _pings: Stream | None = None
    """The stream that is kept alive."""

    async def _answer(self, answer: Reply | Stream) -> None:
        if isinstance(answer, Reply):
            body = answer.body if isinstance(answer.body, bytes) else encode(answer.body)
            headers = [(b"content-type", answer.content_type), (b"content-length", str(len(body)).encode())]
            if (usage := self.usage) and usage.truncated:
                headers.append((b"x-byzer-warning", str(usage.truncated).encode()))
            await self._begin(answer.status, [*headers, *answer.headers])
            await self._write(body, more=False)
            return
        self._is_text = answer.content_type.startswith((b"text/", b"application/"))
        if answer.content_type.startswith(b"text/event-stream") and self.wire.ping:
            self._pings = answer
        async with aclosing(answer.items) as items:  # type: ignore[type-var]  # a generator
            async for item in items:
                if not self._begun:
                    await self._begin(200, _heads(answer))
                await self._write(item)
        await self._begin(200, _heads(answer))
        self._pings = None
        await self._write(b"", more=False)

    async def _begin(self, status: int, headers: Headers) -> None:
        if self._begun:
            return
        self._begun = True
        self.status = status
        own = [(name, self.id.encode()) for name in dict.fromkeys((b"x-request-id", self.wire.request_id))]
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *own]})

    async def _write(self, data: bytes, *, more: bool = True) -> None:
        self._sending, self._sent = True, time.monotonic()
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
        self._sending = False

    async def _fail(self, problem: Problem) -> None:
        """Send an error: as a response, or as the last event of a stream that has begun."""
        self.problem = problem.name
        self._pings = None
        body = self.wire.error(problem, self.id)
        if self._begun:
            if not self._is_text:  # of audio, nothing more comes: the client sees that it is not complete
                return
            await self._write(self.wire.late_error(body), more=False)
            return
        closing = [] if self.body or problem.status not in (408, 413) else [(b"connection", b"close")]
        await self._answer(Reply(body, status=problem.status, headers=[*problem.headers, *closing]))


def _heads(stream: Stream) -> Headers:
    return [(b"content-type", stream.content_type), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]


class Endpoint:
    """A path of the endpoint, as an ASGI application.

    Args:
        gateway: what all calls share.
        wire: whose manners it has.
        handle: makes the answer.
        path: its pattern, for metrics.
        free: whether it needs no key.
    """

    def __init__(self, gateway: Gateway, wire: Wire, handle: Handle, path: str, *, free: bool = False) -> None:
        self._gateway = gateway
        self.wire = wire
        self._handle = handle
        self.path = path
        self._free = free

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        """Answer one call."""
        call = Call(self._gateway, self.wire, scope, receive, send)
        call.path = self.path
        self._gateway.begun()
        try:
            await call.run(self._handle, free=self._free)
        finally:
            try:
                self._gateway.ended(call)
            except Exception:  # the client has its answer, whatever is wrong with the counting
                log.exception("The request %s could not be counted", call.id)


async def unknown_path(call: Call) -> Reply:
    """Answer a path that the endpoint does not have."""
    path = str(call.scope["path"])[:LONGEST_PATH]
    raise Problem(
        404, _("{method} {path} does not exist here.", method=call.scope["method"], path=path),
        code="unknown_url", anthropic="not_found_error", name="UnknownPath",
    )  # fmt: skip


async def wrong_method(call: Call) -> Reply:
    """Answer a path that the endpoint has, with another method."""
    allowed, path = call.scope["allowed"], str(call.scope["path"])[:LONGEST_PATH]
    raise Problem(
        405, _("{path} takes {allowed}, not {method}.", path=path, allowed=allowed, method=call.scope["method"]),
        code="method_not_allowed", name="WrongMethod", allow=allowed,
    )  # fmt: skip


LONGEST_PATH = 200
"""Characters of a path in an error."""
