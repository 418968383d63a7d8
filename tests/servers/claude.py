"""A strict little Anthropic: the Messages API.

Fields, statuses and error bodies follow https://platform.claude.com/docs/en/api/messages, .../api/errors and
.../build-with-claude/streaming. Since the version 2026-10-21 the API rejects temperature, top_p and top_k.
Tool calls must be answered in the next turn (.../agents-and-tools/tool-use/handle-tool-calls), and turns of one role
in a row count as one. A body ends a little after its last event, as it does behind gateways.
It answers "Echo: <last user text>", word by word, or a value of the JSON schema in `output_config`; knobs and faults
are those of skeleton.py, and `fault:overloaded` is an error event inside a stream.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import itertools
import json
import re
from typing import Any

import schemas
from aiohttp import web
from skeleton import before_answer, close_now, knobs, noted, serve

MODELS = ("claude-3-5-sonnet-20240620", "claude-sonnet-5-5")
VERSIONS = ("2023-06-01", "2026-10-21")
FAULTS = {
    "401": (401, "authentication_error", "invalid x-api-key"),
    "403": (403, "permission_error", "Your API key does not have permission to use the specified resource."),
    "404": (404, "not_found_error", "model: claude-9"),
    "context": (400, "invalid_request_error", "prompt is too long: 250000 tokens > 200000 maximum"),
    "429": (429, "rate_limit_error", "This request would exceed your account's rate limit."),
    "500": (500, "api_error", "Internal server error"),
    "529": (529, "overloaded_error", "Overloaded"),
}
IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
END_SECONDS = 0.01
CHOICES = ("auto", "any", "tool", "none")
FIELDS = {
    "model", "messages", "max_tokens", "system", "stream", "stop_sequences", "tools", "tool_choice", "metadata",
    "thinking", "output_config", "service_tier", "temperature", "top_p", "top_k", "cache_control", "inference_geo",
}  # fmt: skip


class Refusal(Exception):
    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def bad(message: str) -> Refusal:
    return Refusal(400, "invalid_request_error", message)


def check(request: web.Request, body: Any) -> None:
    """Refuse what Anthropic refuses."""
    key = request.headers.get("x-api-key") or request.headers.get("Authorization", "").removeprefix("Bearer ")
    if request.app["key"] and key != request.app["key"]:
        raise Refusal(401, "authentication_error", "invalid x-api-key")
    version = request.headers.get("anthropic-version")
    if version not in VERSIONS:
        raise bad(
            "anthropic-version: header is required" if not version else f"anthropic-version: {version!r} is unknown"
        )
    check_fields(body)
    if version != "2023-06-01" and (found := {"temperature", "top_p", "top_k"} & set(body)):
        raise bad(f"{min(found)}: this parameter is no longer supported")
    if body["model"] not in MODELS:
        raise Refusal(404, "not_found_error", f"model: {body['model']}")
    check_tools(body)
    for number, turn in enumerate(body["messages"]):
        check_turn(number, turn)
    check_answers(body["messages"])
    check_end(body["messages"])


def check_fields(body: dict[str, Any]) -> None:
    if unknown := set(body) - FIELDS:
        raise bad(f"{min(unknown)}: Extra inputs are not permitted")
    for name in ("model", "messages", "max_tokens"):
        if name not in body:
            raise bad(f"{name}: Field required")
    if not isinstance(body["max_tokens"], int) or body["max_tokens"] < 0:
        raise bad("max_tokens: Input should be a valid integer")
    if not isinstance(body["messages"], list) or not body["messages"]:
        raise bad("messages: at least one message is required")
    if not isinstance(body.get("system", ""), str | list):
        raise bad("system: Input should be a valid list")


def check_tools(body: dict[str, Any]) -> None:
    for number, tool in enumerate(body.get("tools", [])):
        if "name" not in tool or not isinstance(tool.get("input_schema"), dict):
            raise bad(f"tools.{number}.custom.input_schema: Field required")
        if unknown := set(tool) - {"name", "description", "input_schema", "cache_control", "strict", "type"}:
            raise bad(f"tools.{number}.custom.{min(unknown)}: Extra inputs are not permitted")
    choice = body.get("tool_choice", {"type": "auto"})
    if not isinstance(choice, dict) or choice.get("type") not in CHOICES:
        raise bad(f"tool_choice: Input tag found using 'type' does not match any of the expected tags: {CHOICES}")
    if "tool_choice" in body and not body.get("tools"):
        raise bad("tool_choice may only be specified while providing tools")


def check_answers(turns: list[dict[str, Any]]) -> None:
    """Refuse calls without results in the next turn, and results without calls in the turn before."""
    open_calls: set[str] = set()
    for role, group in itertools.groupby(turns, key=lambda turn: turn["role"]):
        blocks = [block for turn in group if isinstance(turn["content"], list) for block in turn["content"]]
        if role == "user":
            results = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
            if strange := results - open_calls:
                raise bad(f"unexpected `tool_use_id` found in `tool_result` blocks: {min(strange)}")
            if missing := open_calls - results:
                raise bad(f"`tool_use` ids were found without `tool_result` blocks immediately after: {min(missing)}")
        open_calls = {block["id"] for block in blocks if block["type"] == "tool_use"}


def check_turn(number: int, turn: dict[str, Any]) -> None:
    if turn["role"] not in ("user", "assistant"):
        raise bad(f"messages.{number}.role: Input should be 'user' or 'assistant'")
    for block in turn["content"] if isinstance(turn["content"], list) else []:
        if block["type"] not in ("text", "image", "tool_use", "tool_result", "thinking"):
            raise bad(f"messages.{number}.content: Input tag '{block['type']}' is not expected")
        if block["type"] == "tool_use" and not isinstance(block.get("input"), dict):
            raise bad(f"messages.{number}.content.tool_use.input: Input should be a valid dictionary")
        if block["type"] == "image" and block["source"]["type"] == "base64":
            if block["source"]["media_type"] not in IMAGE_TYPES:
                raise bad(f"messages.{number}.content.image.source.base64.media_type: Input should be {IMAGE_TYPES}")
            try:
                base64.b64decode(block["source"]["data"], validate=True)
            except binascii.Error:
                raise bad(f"messages.{number}.content: invalid base64 data") from None
    if not turn["content"]:
        raise bad(f"messages.{number}: content must not be empty")
    if any(not text.strip() for text in texts_of(turn)):
        raise bad(f"messages.{number}: text content blocks must contain non-whitespace text")


def texts_of(turn: dict[str, Any]) -> list[str]:
    if isinstance(turn["content"], str):
        return [turn["content"]]
    results = [block.get("content", []) for block in turn["content"] if block["type"] == "tool_result"]
    inner = [text for content in results if content for text in texts_of({"content": content})]
    return inner + [block["text"] for block in turn["content"] if block["type"] == "text"]


def check_end(turns: list[dict[str, Any]]) -> None:
    if turns[-1]["role"] == "assistant" and any(text != text.rstrip() for text in texts_of(turns[-1])[-1:]):
        raise bad("messages: final assistant content cannot end with trailing whitespace")
    if turns[0]["role"] != "user":
        raise bad('messages: first message must use the "user" role')


def last_text(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    texts = [block["text"] for block in content if block["type"] == "text"]
    images = [
        f"[{block['source'].get('media_type') or block['source'].get('url')}]"
        for block in content
        if block["type"] == "image"
    ]
    results = [f"<{block['tool_use_id']}: {block['content']}>" for block in content if block["type"] == "tool_result"]
    return " ".join([*texts, *images, *results])


def blocks_of(body: dict[str, Any], asked: dict[str, str]) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if "think" in asked:
        blocks.append({"type": "thinking", "thinking": asked["think"], "signature": "sig"})
    if "tool" in asked:
        return [*blocks, {"type": "tool_use", "id": "toolu_1", "name": asked["tool"], "input": {"city": "Paris"}}]
    form = (body.get("output_config") or {}).get("format")
    if form and asked.keys() == {"text"}:
        return [*blocks, {"type": "text", "text": json.dumps(schemas.value(form["schema"]))}]
    text = asked.get("say") or f"Echo: {asked['text']}"
    if body.get("system"):
        text += f" ({body['system']})"
    return [*blocks, {"type": "text", "text": text}]


def message(body: dict[str, Any], blocks: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
    usage = {"input_tokens": 7, "cache_read_input_tokens": 3, "output_tokens": len(blocks)}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "stop_sequence": None}
    return {**head, "content": blocks, "stop_reason": reason, "usage": usage}


async def messages(request: web.Request, entry: dict[str, Any]) -> web.StreamResponse:
    try:
        body = entry["body"] = await request.json()
        entry["version"] = request.headers.get("anthropic-version")
        entry["peer"] = request.transport.get_extra_info("peername")[1] if request.transport else None
        check(request, body)
        asked = knobs(last_text(body))
        if asked.get("streams") == "no" and body.get("stream"):
            raise bad("stream: streaming is not supported by this model")
        await before_answer(request, asked)
        if (fault := asked.get("fault", "")) in FAULTS:
            raise Refusal(*FAULTS[fault])
    except Refusal as refusal:
        headers = {"request-id": "req_1"}
        if "retry_after" in (asked if "asked" in locals() else {}):
            headers["retry-after"] = asked["retry_after"]
        return web.json_response(refusal.body, status=refusal.status, headers=headers)
    blocks = blocks_of(body, asked)
    reason = "tool_use" if "tool" in asked else "end_turn"
    if body.get("stream"):
        return await stream(request, body, blocks, reason, asked.get("fault", ""))
    if asked.get("fault") == "garbage":
        return web.Response(text='{"content": [', content_type="application/json")
    return web.json_response(message(body, blocks, reason), headers={"request-id": "req_1"})


async def stream(
    request: web.Request, body: dict[str, Any], blocks: list[dict[str, Any]], reason: str, fault: str
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "request-id": "req_1"})
    await response.prepare(request)

    async def send(kind: str, **fields: Any) -> None:
        data = json.dumps({"type": kind, **fields}, ensure_ascii=False)
        await response.write(f"event: {kind}\ndata: {data}\n\n".encode())

    await send("message_start", message=message(body, [], None))
    await send("ping")
    for index, block in enumerate(blocks):
        await send("content_block_start", index=index, content_block=empty(block))
        for number, delta in enumerate(deltas(block)):
            await send("content_block_delta", index=index, delta=delta)
            if number == 1 and await broken(request, response, send, fault):
                return response
        await send("content_block_stop", index=index)
    await send("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage={"output_tokens": 5})
    await send("message_stop")
    await asyncio.sleep(END_SECONDS)
    return response


def empty(block: dict[str, Any]) -> dict[str, Any]:
    return {**block, **{name: type(block[name])() for name in ("text", "thinking", "input") if name in block}}


def deltas(block: dict[str, Any]) -> list[dict[str, Any]]:
    if block["type"] == "text":
        return [{"type": "text_delta", "text": word} for word in re.findall(r"\s*\S+|\s+$", block["text"])]
    if block["type"] == "thinking":
        text = {"type": "thinking_delta", "thinking": block["thinking"]}
        return [text, {"type": "signature_delta", "signature": "sig"}]
    data = json.dumps(block["input"])
    return [{"type": "input_json_delta", "partial_json": part} for part in ("", data[:4], data[4:])]


async def broken(request: web.Request, response: web.StreamResponse, send: Any, fault: str) -> bool:
    """Do the fault that belongs inside a stream; return whether the stream is over."""
    if fault == "garbage":
        await response.write(b'event: content_block_delta\ndata: {"type": "content_bl\n\n')
    elif fault == "overloaded":
        await send("error", error={"type": "overloaded_error", "message": "Overloaded"})
    elif fault == "reset":
        close_now(request)
    return fault in ("garbage", "overloaded", "reset", "truncate")


def add_routes(app: web.Application) -> None:
    app.router.add_post("/v1/messages", noted(messages))


if __name__ == "__main__":
    serve(__doc__, add_routes)
