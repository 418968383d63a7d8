"""The smallest requests of each capability, which show whether a model answers: for the tests of deployments.

Providers differ in the fields that they know: the requests of a capability are tried one after the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing

from byzer_magic.capabilities import TABLE, Capability, resolve
from byzer_magic.errors import BadRequest
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

SHORTEST: tuple[dict[str, int], ...] = ({"max_tokens": 1}, {"max_completion_tokens": 16}, {})
"""Options that keep an answer short, by the names of different providers and models."""
SILENCE_SECONDS = 1
RATE = 16_000


async def ask(capability: Capability, send: Callable[[Request], AsyncIterator[Item]]) -> bool:
    """Send the smallest request of a capability, and wait for the first item of the response.

    Args:
        capability: what to ask for.
        send: returns the response to a request.

    Returns:
        Whether anything was sent: not where a response would cost too much for a test.

    Raises:
        ByzerError: the model does not answer.
    """
    requests: list[Request] = list(resolve(TABLE[capability].probe)())
    for number, request in enumerate(requests):
        try:
            async with aclosing(send(request)) as items:  # type: ignore[type-var]  # async generators all
                async for _ in items:
                    break
        except BadRequest:  # the key and the model were accepted; only the words for "short" differ
            if number + 1 == len(requests):
                raise
        else:
            break
    return bool(requests)


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
