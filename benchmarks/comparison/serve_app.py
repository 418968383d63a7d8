"""What Ray Serve serves: an application that passes the bytes of the provider on (HTTP), or its texts (a handle)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from ray import serve
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from comparison.raw import session, text_of, texts_of


@serve.deployment(num_replicas=4, max_ongoing_requests=16, ray_actor_options={"num_cpus": 0.001})
class Proxy:
    """Four replicas of 16 requests each, as the deployment beside it has four workers of 16 slots."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/chat/completions"
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, request: Request) -> Response:
        """Answer over HTTP."""
        data = await request.body()
        if json.loads(data).get("stream"):
            return StreamingResponse(self._pieces(data), media_type="text/event-stream")
        async with self._post(data=data, headers={"Content-Type": "application/json"}) as response:
            return Response(await response.read(), status_code=response.status, media_type="application/json")

    async def ask(self, body: dict[str, Any]) -> str:
        """Answer through a handle, complete."""
        async with self._post(json=body) as response:
            return await text_of(response)

    async def tokens(self, body: dict[str, Any]) -> AsyncIterator[str]:
        """Answer through a handle, token by token."""
        async with self._post(json=body) as response:
            async for text in texts_of(response):
                yield text

    async def _pieces(self, data: bytes) -> AsyncIterator[bytes]:
        async with self._post(data=data, headers={"Content-Type": "application/json"}) as response:
            async for piece in response.content.iter_any():
                yield piece

    def _post(self, **body: Any) -> Any:
        if self._session is None:  # in the loop of the requests, which does not run yet in __init__
            self._session = session()
        return self._session.post(self._url, **body)
