"""What the test providers have in common: knobs in prompts, a journal of what came in, and a main program.

A prompt may begin with knobs: `fault:<name>` for an error (`retry_after=3` after it is sent as a header),
`slow:50ms` for a pause before the first byte, `meet:4` for one until four requests that say so are there at once,
`held:<name>` for one until that name is posted to `/release`, `say:`, `tool:`, `think:` for the response,
`segments:9` for so many parts of a transcript, `streams:no` for a server that refuses to stream; with `only:second`
the fault is for requests with the second key, which is the key with `-second` at its end.

The faults that every provider has, in its own words:

    401 403 404 context 429 500 529   errors with the provider's own status, code and sentence
    refuse      the connection is closed before any response
    truncate    the stream ends early, without its end mark
    reset       the connection is closed in the middle of the stream
    garbage     bytes that are not a response, in the middle of the stream (or instead of it, without one)
    silence     no response at all
"""

from __future__ import annotations

import argparse
import asyncio
import contextvars
import itertools
import os
import re
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

KNOB = re.compile(
    r"(tokens|segments|slow|meet|held|rest|fault|streams|only):(\S+)(?:\s+retry_after=(\S+))?\s*|(say|tool|think):(.*)",
    re.S,
)

JOURNAL: deque[dict[str, Any]] = deque(maxlen=2000)
NUMBERS = itertools.count(1)

MEETINGS: dict[int, asyncio.Barrier] = {}
"""Of requests that go on together, by their number."""
GATES: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
"""What holds requests, by name."""

SECOND = "-second"
"""What the second key has at its end."""
USED: contextvars.ContextVar[str] = contextvars.ContextVar("USED", default="first")
"""Which key the request has that is being answered."""

Handler = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def knobs(text: str) -> dict[str, str]:
    """Return the knobs at the start of a prompt, and the text after them."""
    found: dict[str, str] = {}
    rest = text.lstrip()
    while match := KNOB.match(rest):
        word, value, wait, tail_word, tail = match.groups()
        found[word or tail_word] = value or tail
        if wait:
            found["retry_after"] = wait
        rest = rest[match.end() :]
    found["text"] = rest
    if found.pop("only", USED.get()) != USED.get():
        found.pop("fault", None)
    return found


def noted(handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return a handler that writes each request into the journal; it gets the entry, and may add to it."""

    async def handle(request: web.Request) -> web.StreamResponse:
        entry: dict[str, Any] = {
            "number": next(NUMBERS),
            "path": request.path_qs,
            "at": time.time(),
            "key": USED.get(),
            "request_id": request.headers.get("x-request-id"),
            "headers": {name.lower(): value for name, value in request.headers.items() if not _secret(name)},
        }
        JOURNAL.append(entry)
        try:
            response = await handler(request, entry)
        except (asyncio.CancelledError, ConnectionError):
            entry["gone"] = time.time()
            raise
        entry["status"] = response.status
        return response

    return handle


def _secret(name: str) -> bool:
    return bool(re.search("auth|key|token|secret", name, re.I))


async def pause(asked: dict[str, str]) -> None:
    """Do what `slow`, `meet` and `held` ask for."""
    if "slow" in asked:
        await asyncio.sleep(float(asked["slow"].removesuffix("ms")) / 1000)
    if "meet" in asked:
        count = int(asked["meet"])
        await MEETINGS.setdefault(count, asyncio.Barrier(count)).wait()
    if "held" in asked:
        await GATES[asked["held"]].wait()


async def before_answer(request: web.Request, asked: dict[str, str]) -> None:
    """Do what the pauses, `fault:refuse` and `fault:silence` ask for."""
    await pause(asked)
    if asked.get("fault") == "silence":
        await asyncio.sleep(600)
    if asked.get("fault") == "refuse":
        close_now(request)


def close_now(request: web.Request) -> None:
    """Close the connection at once."""
    if request.transport:
        request.transport.abort()


@web.middleware
async def either_key(request: web.Request, handler: Callable[[web.Request], Awaitable[Any]]) -> Any:
    """Take the second key like the first."""
    if any(SECOND in value for value in request.headers.values()):
        USED.set("second")
        headers = [(name, value.replace(SECOND, "")) for name, value in request.headers.items()]
        request = request.clone(headers=headers)
    return await handler(request)


async def _journal(request: web.Request) -> web.Response:
    after = int(request.query.get("after", -1))
    return web.json_response([entry for entry in JOURNAL if entry["number"] > after])


async def _latest(_: web.Request) -> web.Response:
    return web.json_response(JOURNAL[-1] if JOURNAL else None)


async def _release(request: web.Request) -> web.Response:
    GATES[await request.json()].set()
    return web.json_response(None)


async def _health(_: web.Request) -> web.Response:
    return web.json_response({"pid": os.getpid()})


def serve(description: str | None, add_routes: Callable[[web.Application], None], **flags: str) -> None:
    """Run a provider: ``--port``, ``--key`` that it asks for (`app["key"]`), and `flags` with their help, likewise."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    for name, text in ({"key": "the key to ask for; none: any will do"} | flags).items():
        parser.add_argument(f"--{name}", default="", help=text)
    options = vars(parser.parse_args())
    port = options.pop("port")
    app = web.Application(client_max_size=2**26, middlewares=[either_key])
    for name, value in options.items():
        app[name] = value
    add_routes(app)
    app.router.add_get("/journal", _journal)
    app.router.add_get("/journal/latest", _latest)
    app.router.add_post("/release", _release)
    app.router.add_get("/health", _health)
    # A cancelled handler is how a server notices, and writes down, that a client has gone away.
    web.run_app(
        app,
        host="127.0.0.1",
        port=port,
        handler_cancellation=True,
        shutdown_timeout=0.2,
        print=None,
        access_log=None,
    )
