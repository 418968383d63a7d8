"""A small real request through a backend that is not deployed: checks key, URL and model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from byzer_magic.actions import doctor
from byzer_magic.backends.base import Backend
from byzer_magic.capabilities import TABLE, Capability, method_for, purpose, resolve
from byzer_magic.errors import BadRequest, ByzerError, DeadlineExceeded, RequestError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.log import redact
from byzer_magic.media import wav
from byzer_magic.types import (
    ChatRequest,
    EmbedRequest,
    Item,
    Media,
    Message,
    Request,
    RerankRequest,
    SpeakRequest,
    TranscribeRequest,
)

if TYPE_CHECKING:
    from byzer_magic.plan import Plan

DEADLINE_SECONDS = 30.0
"""How long a test may take."""
SHORTEST: tuple[dict[str, int], ...] = ({"max_tokens": 1}, {"max_completion_tokens": 16}, {})
"""Options that keep an answer short, by the names of different providers and models."""
SILENCE_SECONDS = 1
RATE = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The result of a test."""

    seconds: float
    capability: Capability
    asked: bool = True
    """False where a request would cost too much to be sent as a test."""


async def ask(plan: Plan) -> Probe:
    """Send the cheapest request that the model can answer, once, and return how long it took.

    Raises:
        ByzerError: it failed; neither text nor hint has the key in it.
    """
    setup = plan.setup
    once = {"saas.max_retries": 0} if "saas.max_retries" in setup.params else {}
    params = {**setup.params, **once}
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            backend = await plan.backend.open(replace(setup, params=params), _silent)
            try:
                return await _ask(backend)
            finally:
                await backend.close()
    except TimeoutError as err:
        raise DeadlineExceeded(
            _("No response within {seconds} s.", seconds=f"{DEADLINE_SECONDS:.0f}"),
            _("Check the URL, and whether a proxy is needed."),
        ) from err
    except ByzerError as err:
        err.message, err.hint = redact(err.message, plan.hidden), redact(err.hint, plan.hidden)
        raise
    except Exception as err:  # noqa: BLE001 - an SDK may raise anything: here it becomes a sentence, as it would in a pool
        raise RequestError(redact(f"{type(err).__name__}: {err}", plan.hidden)) from None


def _silent(_stage: str, _fraction: float | None = None, _detail: str = "", /) -> None:
    """Ignore reports: only the request counts."""


async def _ask(backend: Backend) -> Probe:
    capability = purpose(backend.capabilities())
    began = time.monotonic()
    requests: list[Request] = list(resolve(TABLE[capability].probe)())
    for number, request in enumerate(requests):
        try:
            async with aclosing(_items(backend, request)) as items:  # type: ignore[type-var]  # async generators all
                async for _ in items:
                    break
        except BadRequest:  # the key and the model were accepted; only the words for "short" differ
            if number + 1 == len(requests):
                raise
        else:
            break
    return Probe(seconds=time.monotonic() - began, capability=capability, asked=bool(requests))


def _items(backend: Backend, request: Request) -> AsyncIterator[Item]:
    return backend.ask(method_for(request), request)


# The cheapest requests of each capability, which its row of the table names: they are tried one after the other, since
# providers differ in the fields that they know.


def chat() -> Iterable[Request]:
    """Yield chats that end after a token or two."""
    for options in SHORTEST:
        yield ChatRequest(messages=[Message(role="user", content="hi")], options=options, stream=False)


def embed() -> Iterable[Request]:
    """Yield a text to embed."""
    yield EmbedRequest(texts=["hi"])


def rerank() -> Iterable[Request]:
    """Yield a document to rank."""
    yield RerankRequest(query="hi", documents=["hi"])


def transcribe() -> Iterable[Request]:
    """Yield a second of silence."""
    yield TranscribeRequest(audio=_silence())


def speak() -> Iterable[Request]:
    """Yield a word to speak."""
    yield SpeakRequest(text="hi")


def image() -> Iterable[Request]:
    """Yield nothing: an image costs too much for a test."""
    return ()


def _silence() -> Media:
    """Return the shortest audio that providers accept."""
    return Media(mime="audio/wav", data=wav.write(bytes(2 * RATE * SILENCE_SECONDS), RATE), name="silence.wav")


def size_up(plan: Plan) -> list[tuple[str, str]]:
    """Return what a worker of a local model would need here: the rows of `doctor`, name and text.

    Raises:
        BadParameter: there is no recognized model at the path.
    """
    worker = doctor.Worker(engine=plan.engine, gpus=plan.setup.gpus, params=plan.setup.params)
    report = doctor.report(str(plan.setup.model_path), lambda: None, worker)
    rows: list[tuple[str, str]] = []
    for row in (row for table in doctor.tables(report) for row in table):
        name, text = row.values()
        rows.append((str(name), str(text)))
    return rows
