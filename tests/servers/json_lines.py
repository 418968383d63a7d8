"""The smallest test provider, for the example in CONTRIBUTING.md: /api/chat, which answers in lines of JSON.

    python tests/servers/json_lines.py --port 8000 --key key-to-ask-for

A provider's own server begins as a copy of this file: `skeleton` has the prompts' knobs and the journal; what is here
is what only this API has, its fields, its answers, and its words for each error.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web
from skeleton import before_answer, close_now, knobs, noted, serve

FIELDS = {"model", "messages", "stream", "options"}
FAULTS = {
    "401": (401, "unauthorized"),
    "403": (403, "forbidden"),
    "404": (404, "model 'tiny' not found"),
    "context": (400, "the input length exceeds the context length"),
    "429": (429, "too many requests"),
    "500": (500, "internal error"),
    "529": (503, "server busy"),
}


def refusal(status: int, sentence: str, asked: dict[str, str]) -> web.Response:
    headers = {"Retry-After": asked["retry_after"]} if "retry_after" in asked else {}
    return web.json_response({"error": sentence}, status=status, headers=headers)


def line(text: str, **more: Any) -> bytes:
    return json.dumps({"message": {"role": "assistant", "content": text}, "done": False, **more}).encode() + b"\n"


@noted
async def chat(request: web.Request, entry: dict[str, Any]) -> web.StreamResponse:
    if request.app["key"] and request.headers.get("Authorization") != f"Bearer {request.app['key']}":
        return refusal(401, "unauthorized", {})
    body = entry["body"] = await request.json()
    if unknown := set(body) - FIELDS:
        return refusal(400, f"unknown fields: {unknown}", {})
    asked = knobs(body["messages"][-1]["content"])
    await before_answer(request, asked)
    fault = asked.get("fault", "")
    if fault in FAULTS:
        return refusal(*FAULTS[fault], asked)
    words = f"Echo: {asked['text']}".split(" ")
    end = line("", done=True, done_reason="stop", prompt_eval_count=7, eval_count=len(words))
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    for number, word in enumerate(words):
        await asyncio.sleep(0.005)
        if fault and number == 1:
            return await broken(request, response, fault)
        await response.write(line(f"{word} "))
    await response.write(end)
    return response


async def broken(request: web.Request, response: web.StreamResponse, fault: str) -> web.StreamResponse:
    """End a stream as a fault asks for; `truncate` ends it without the last line."""
    if fault == "garbage":
        await response.write(b'{"message": nonsense\n')
    if fault == "schema":
        await response.write(b'{"message": {"content": "7"}}\n')
    if fault == "error":
        await response.write(b'{"error": "the model crashed"}\n')
    if fault == "reset":
        close_now(request)
    return response


def add_routes(app: web.Application) -> None:
    app.router.add_post("/api/chat", chat)


if __name__ == "__main__":
    serve(__doc__, add_routes)
