"""The floor: aiohttp and json, and nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from loads import Way

TIMEOUT_SECONDS = 60


def session() -> aiohttp.ClientSession:
    """Return a session that limits nothing."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=3),
        headers={"Authorization": "Bearer k"},
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
    )


def body(prompt: str, *, stream: bool) -> dict[str, Any]:
    """Return the body of a request."""
    return {"model": "tiny", "messages": [{"role": "user", "content": prompt}], "stream": stream}


async def text_of(response: aiohttp.ClientResponse) -> str:
    """Return the text of a complete response."""
    data = await response.read()
    response.raise_for_status()
    return str(json.loads(data)["choices"][0]["message"]["content"])


async def texts_of(response: aiohttp.ClientResponse) -> AsyncIterator[str]:
    """Yield the texts of a streamed response."""
    response.raise_for_status()
    async for line in response.content:
        if line.startswith(b"data: ") and not line.startswith(b"data: [DONE]"):
            choices = json.loads(line[6:])["choices"]
            if choices and (text := choices[0]["delta"].get("content")):
                yield text


def raw_way(client: aiohttp.ClientSession, url: str) -> Way:
    """Return the way over HTTP to a server with the OpenAI API."""

    async def ask(prompt: str, *, stream: bool = False) -> AsyncIterator[str]:
        async with client.post(f"{url}/chat/completions", json=body(prompt, stream=stream)) as response:
            if not stream:
                yield await text_of(response)
                return
            async for text in texts_of(response):
                yield text

    return ask
