"""Requests of the OpenAI API as we send them, beside the official SDK's: the same bytes, and the same errors."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from byzer_magic import errors
from tests.backends import opened

KEY = "sk-recorded-0123456789"
OF_THE_CLIENT = re.compile(r"x-stainless-|user-agent|accept-encoding|connection|content-length")
"""Headers that say which client it is, and those of the transport."""


@dataclass
class Recorder:
    """A server that notes each request as it arrives, and answers with the bytes it is given."""

    answer: bytes | None = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    """None: it closes the connection instead."""
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with_body = await reader.readuntil(b"\r\n\r\n")
        line, *headers = with_body.decode().strip().split("\r\n")
        pairs = [header.partition(": ")[::2] for header in headers]
        names = [name.lower() for name, _ in pairs]
        assert len(names) == len(set(names)), f"sent twice: {names}"
        given = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(given.get("content-length", 0)))
        shown = {name: value for name, value in given.items() if not OF_THE_CLIENT.match(name)}
        self.requests.append((line, shown, body))
        if self.answer is not None:
            writer.write(self.answer)
            await writer.drain()
        writer.close()


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    server = await asyncio.start_server(recorder.serve, "127.0.0.1", 0)
    recorder.port = server.sockets[0].getsockname()[1]
    async with server:
        yield recorder


Send = Callable[[Any, str, dict[str, Any], dict[str, str] | None], Awaitable[Any]]


async def ours(client: Any, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    async with client.responding(path, body, headers) as response:
        return await response.read()


async def by_sdk(client: Any, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    sdk = await client.sdk()
    async with client.errors():
        return await sdk.post(path, cast_to=object, body=body, options={"headers": headers} if headers else {})


async def client_of(kind: str, recorder: Recorder, **params: str) -> Any:
    name = "azure_endpoint" if "azure" in kind else "base_url"
    url = f"http://127.0.0.1:{recorder.port}" + params.pop("path", "" if "azure" in kind else "/v1")
    given = {name: url, "model": "gpt-4o", "max_retries": "0", "api_key": KEY} | params
    backend = await opened(kind, {f"saas.{name}": value for name, value in given.items() if value})
    return backend._client


BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/chat/completions", {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "stream": True}),
    "any text": (
        "/chat/completions",
        {"model": "m", "messages": [{"role": "user", "content": '日本 😀 a\u2028b \\ " \t\r\n\x7f <&>/'}]},
    ),
    "options": (
        "/chat/completions",
        {"messages": [], "temperature": 0.7, "top_p": 1, "seed": 2**53, "stop": ["\n"], "n": None, "logprobs": True},
    ),
    "tools": ("/chat/completions", {"tools": [{"type": "function", "function": {"parameters": {"a": [1, {}]}}}]}),
    "embeddings": ("/embeddings", {"model": "e", "input": ["a", "b"], "encoding_format": "base64"}),
    "rerank": ("/rerank", {"model": "r", "query": "q", "documents": ["a"]}),
    "image": ("/images/generations", {"model": "dall-e-3", "prompt": "a cat", "n": 1}),
}


@pytest.mark.parametrize("name", BODIES)
async def test_body_is_the_same(recorder: Recorder, name: str) -> None:
    client = await client_of("saas/openai", recorder)
    path, body = BODIES[name]
    await ours(client, path, body)
    await by_sdk(client, path, body)
    first, second = recorder.requests
    assert first == second
    assert first[0] == f"POST /v1{path} HTTP/1.1"
    assert json.loads(first[2]) == body
    await client.close()


ACCOUNTS: dict[str, tuple[str, dict[str, str]]] = {
    "key": ("saas/openai", {}),
    "no key": ("saas/openai", {"api_key": ""}),
    "organization": ("saas/openai", {"organization": "org-1"}),
    "slash at the end": ("saas/openai", {"path": "/v1/"}),
    "deep path": ("saas/openai", {"path": "/gateway/openai/v4"}),
    "other headers": ("saas/openai", {"extra_headers": '{"X-Title": "notebook", "HTTP-Referer": "https://x.com"}'}),
    "own authorization": ("saas/openai", {"extra_headers": '{"Authorization": "Basic dTpw"}'}),
    "row of the catalog": ("saas/deepseek", {}),
    "azure dated": ("saas/azure_openai", {"api_version": "2024-10-21"}),
    "azure deployment": ("saas/azure_openai", {"api_version": "2024-10-21", "azure_deployment": "my gpt/4"}),
    "azure v1": ("saas/azure_openai", {"azure_deployment": "my-gpt"}),
    "azure token dated": ("saas/azure_openai", {"api_key": "", "azure_ad_token": KEY, "api_version": "2024-10-21"}),
    "azure token v1": ("saas/azure_openai", {"api_key": "", "azure_ad_token": KEY}),
}


@pytest.mark.parametrize("headers", [None, {"x-request-tag": "7", "Accept": "text/event-stream"}], ids=["", "tagged"])
@pytest.mark.parametrize("name", ACCOUNTS)
async def test_path_and_headers_are_the_same(recorder: Recorder, name: str, headers: dict[str, str] | None) -> None:
    kind, params = ACCOUNTS[name]
    client = await client_of(kind, recorder, **params)
    for send in (ours, by_sdk):
        await send(client, "/chat/completions", {"model": "gpt-4o", "messages": []}, headers)
    first, second = recorder.requests
    assert first == second
    await client.close()


def http(status: str, body: str, *headers: str) -> bytes:
    data = body.encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", *headers, "Connection: close"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


ERROR = '{"error": {"message": "because", "type": "invalid_request_error", "code": "%s"}}'
ANSWERS: dict[str, bytes | None] = {
    **{
        f"{status} {code}": http(f"{status} X", ERROR % code, "x-request-id: req-1")
        for status, code in (
            (400, "invalid_value"), (400, "context_length_exceeded"), (401, "invalid_api_key"), (403, "unsupported"),
            (404, "model_not_found"), (408, "timeout"), (409, "conflict"), (413, "too_large"), (422, "unprocessable"),
            (429, "rate_limit_exceeded"), (429, "insufficient_quota"), (500, "server_error"), (503, "overloaded"),
        )
    },
    "asks to wait": http("429 X", ERROR % "slow", "retry-after: 7"),
    "asks not to retry": http("500 X", ERROR % "x", "x-should-retry: false"),
    "text": http("502 Bad Gateway", "upstream is down", "content-type: text/plain"),
    "page": http("503 X", "<html><head><title>Down for maintenance</title></head></html>", "content-type: text/html"),
    "empty": http("500 X", ""),
    "quotes the key": http("401 X", ERROR % KEY),
    "not JSON": http("400 X", '{"error": {"mess'),
    "proxy wants a password": http("407 X", ""),
    "moved": http("301 X", "", "location: https://api.example.com/v1"),
    "moved elsewhere": http("307 X", "", "location: https://other.example.com/v1/chat/completions"),
    "closes": None,
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
async def test_error_is_the_same(recorder: Recorder, name: str) -> None:
    recorder.answer = ANSWERS[name]
    client = await client_of("saas/openai", recorder)
    found = []
    for send in (ours, by_sdk):
        with pytest.raises(errors.ByzerError) as failure:
            await send(client, "/chat/completions", {"model": "gpt-4o", "messages": []}, None)
        found.append({name: str(value) for name, value in errors.to_wire(failure.value).items()})
    assert found[0] == found[1]
    assert KEY not in str(found)
    await client.close()


async def test_chat_leaves_the_sdk_alone(recorder: Recorder) -> None:
    client = await client_of("saas/openai", recorder)
    await ours(client, *BODIES["chat"])
    assert client._sdk is None
    await client.close()
