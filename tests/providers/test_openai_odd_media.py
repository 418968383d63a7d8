"""Embeddings, rankings and images as servers send them that have their own idea of the OpenAI API."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import struct
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.client.collect import collector_for
from byzer_magic.types import EmbedRequest, ImageRequest, Request, RerankRequest
from tests.backends import opened
from tests.servers.scripted import Script, response, scripted

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(250, 256)) * 3 + b"?"


async def asked(request: Request, answer: Any, capability: str, **params: str) -> Any:
    """Return the result of a request that a server answers with JSON, or with what a function of its body returns."""

    def sent(_line: str) -> list[bytes]:
        body = json.loads(script.received[-1][2] or b"{}")
        found = answer(body, script) if callable(answer) else answer
        return found if isinstance(found, list) and found and isinstance(found[0], bytes) else response(of_json(found))

    async with scripted(sent) as script:
        given = {"base_url": f"{script.url}/v1", "api_key": "sk-x", "model": "m", "capabilities": capability, **params}
        backend = await opened("saas/openai", {f"saas.{name}": value for name, value in given.items()})
        collector = collector_for("m", request)
        try:
            async for chunk in getattr(backend, capability)(request):
                collector.add(chunk)
        finally:
            await backend.close()
    return collector.result()


def of_json(value: Any) -> bytes:
    return json.dumps(value).encode()


# ---- embeddings

ONE, TWO = (1.0, 0.5), (0.25, 2.0)


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def vectors(*rows: Any) -> dict[str, Any]:
    return {"data": [{"index": index, "embedding": row} for index, row in enumerate(rows)]}


@pytest.mark.parametrize(
    "answer",
    [
        vectors(packed(*ONE), packed(*TWO)),
        vectors(packed(*ONE).rstrip("="), packed(*TWO).rstrip("=")),
        vectors(packed(*ONE) + "\n", packed(*TWO)[:5] + "\r\n" + packed(*TWO)[5:]),
        vectors(list(ONE), [list(TWO)]),
    ],
)
async def test_embeddings_are_read_in_any_form(answer: Any) -> None:
    found = await asked(EmbedRequest(texts=["a", "b"]), answer, "embed")
    assert found.vectors.tolist() == [list(ONE), list(TWO)]


@pytest.mark.parametrize(
    "odd", [packed(math.nan, 1), packed(math.inf, -math.inf), [1e39, 0.5], [-1e39, 1e39], "!!!", "AAA", [None, 0.5]]
)
async def test_embeddings_that_are_no_numbers_are_an_error(odd: Any) -> None:
    with pytest.raises(errors.ProviderUnavailable, match="not a list of numbers"):
        await asked(EmbedRequest(texts=["a", "b"]), vectors(odd, list(TWO)), "embed")


@pytest.mark.parametrize("message", ["Request contains an invalid argument.", "encoding_format is not supported"])
async def test_lists_are_requested_from_servers_that_refuse_base64(message: str) -> None:
    def answer(body: dict[str, Any], script: Script) -> Any:
        if "encoding_format" in body:
            return response(of_json([{"error": {"code": 400, "message": message}}]), status=400)
        assert len(script.received) == 2
        return vectors(list(ONE))

    found = await asked(EmbedRequest(texts=["a"]), answer, "embed")
    assert found.vectors.tolist() == [list(ONE)]


async def test_refusal_of_something_else_is_the_error() -> None:
    def answer(_body: dict[str, Any], script: Script) -> Any:
        assert len(script.received) <= 2
        return response(of_json({"error": {"message": "the text is odd"}}), status=400)

    with pytest.raises(errors.BadRequest, match="the text is odd"):
        await asked(EmbedRequest(texts=["a"]), answer, "embed")


# ---- rankings

RERANK = RerankRequest(query="q", documents=["a", "b", "c"])


def scores(*rows: tuple[Any, Any], name: str = "relevance_score") -> list[dict[str, Any]]:
    return [{"index": index, name: score} for index, score in rows]


@pytest.mark.parametrize(
    "answer",
    [
        {"results": scores((2, 0.9), (0, 0.5), (1, 0.1))},
        {"results": scores((0, 0.5), (1, 0.1), (2, 0.9))},
        {"data": scores(("2", "0.9"), (0.0, 0.5), (1, 0.1), name="score")},
        scores((0, 0.5), (1, 0.1), (2, 0.9), name="score"),
    ],
)
async def test_rankings_are_in_order_of_their_scores(answer: Any) -> None:
    assert (await asked(RERANK, answer, "rerank")).order == [(2, 0.9), (0, 0.5), (1, 0.1)]


@pytest.mark.parametrize(
    "rows",
    [
        scores((7, 0.9), (0, 0.5)),
        scores((-1, 0.9), (0, 0.5)),
        scores((0, 0.9), (0, 0.5), (1, 0.1)),
        scores((2, None), (0, 0.5)),
        scores((2, math.nan), (0, 0.5)),
        [{"relevance_score": 0.9}, *scores((0, 0.5))],
    ],
)
@pytest.mark.parametrize("bare", [True, False])
async def test_rankings_that_do_not_fit_the_documents_are_an_error(rows: Any, bare: bool) -> None:
    with pytest.raises(errors.ProviderUnavailable, match="does not fit the documents"):
        await asked(RERANK, rows if bare else {"results": rows}, "rerank")


@pytest.mark.parametrize("answer", [[], {"results": []}, {}])
async def test_empty_ranking_is_an_error(answer: Any) -> None:
    with pytest.raises(errors.ProviderUnavailable, match="no content"):
        await asked(RERANK, answer, "rerank")


# ---- images

DRAW = ImageRequest(prompt="a cat")
ENCODED = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    "text",
    [
        ENCODED,
        base64.urlsafe_b64encode(PNG).decode(),
        ENCODED.rstrip("="),
        ENCODED + "==",
        ENCODED[:20] + "\r\n" + ENCODED[20:] + "\n",
        "data:image/png;base64," + ENCODED,
    ],
)
async def test_images_are_read_from_any_base64(text: str) -> None:
    [found] = (await asked(DRAW, {"data": [{"b64_json": text}]}, "image")).pictures
    assert (found.mime, found.data) == ("image/png", PNG)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<html><title>Sign in</title></html>", "Sign in"),
        (b'{"error": {"message": "the prompt is not allowed"}}', "the prompt is not allowed"),
    ],
)
async def test_text_in_place_of_an_image_is_an_error(data: bytes, words: str) -> None:
    row = {"b64_json": base64.b64encode(data).decode()}
    with pytest.raises(errors.ProviderError, match=words):
        await asked(DRAW, {"data": [row]}, "image")


async def test_image_whose_download_stalls_stays_a_url() -> None:
    asked_for, stop = asyncio.Event(), asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked_for.set()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 99\r\n\r\n" + PNG)
        await stop.wait()
        writer.close()

    silent = await asyncio.start_server(stall, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/cat.png"
    try:
        given = {"timeout": "1", "image_hosts": "127.0.0.1"}
        [found] = (await asked(DRAW, {"data": [{"url": url}]}, "image", **given)).pictures
        assert asked_for.is_set()
        assert (found.data, found.url) == (b"", url)
    finally:
        stop.set()
        silent.close()
