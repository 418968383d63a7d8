"""The floor for an HTTP endpoint: a reverse proxy on Starlette, uvicorn and aiohttp that reads nothing of what passes.

python benchmarks/comparison/reverse_proxy.py PORT URL
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

SESSION: list[aiohttp.ClientSession] = []


async def forward(request: Request) -> Response:
    """Pass a request on, and its response back."""
    if not SESSION:
        SESSION.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
    body = await request.body()
    headers = {"content-type": "application/json"}
    response = await SESSION[0].post(f"{sys.argv[2]}/chat/completions", data=body, headers=headers)
    kind = response.headers["content-type"]
    if "event-stream" not in kind:
        data = await response.read()
        response.release()
        return Response(data, media_type=kind)

    async def pieces() -> AsyncIterator[bytes]:
        async for piece in response.content.iter_any():
            yield piece
        response.release()

    return StreamingResponse(pieces(), media_type=kind)


if __name__ == "__main__":
    app = Starlette(routes=[Route("/v1/chat/completions", forward, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="critical", access_log=False)
