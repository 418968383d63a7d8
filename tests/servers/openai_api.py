"""A strict little provider of OpenAI's chat completions, which fails on request.

    python tests/servers/openai_api.py --port 8000 --key sk-test

Fields, status codes and error bodies follow the API reference:
https://developers.openai.com/api/reference/resources/chat/subresources/completions/methods/create and
https://developers.openai.com/api/docs/guides/error-codes. Unknown keys, models, roles and field types are rejected
as OpenAI rejects them. It answers "Echo: <last user text>", word by word, or a value of the JSON schema in
`response_format`, unless the text begins with knobs:

    tokens:200@50        200 tokens, 50 a second (without @50: as fast as they go)
    slow:50ms            50 ms pass before the first byte
    meet:4               nothing before the first byte, until four requests are there that say so
    held:<name>          nothing before the first byte, until the name, as JSON, is posted to `/release`
    rest:<name>          two tokens, and the others once the name is posted there
    say:<text>           the response, exactly
    tool:<name>          a call of that tool, its arguments in three deltas
    think:<text>         reasoning before the echo
    streams:no           refuses to stream
    fault:429 retry_after=3   that status; also quota, context, filter, html, usage (refuses stream_options)
    fault:truncate       the stream ends without a finish reason
    fault:garbage        a line of broken JSON in the middle of the stream
    fault:error          an error object in the middle of the stream
    fault:reset          the connection is closed in the middle of the stream
    fault:refuse         the connection is closed before any response
    fault:hang           two tokens, then silence
    fault:silence        no answer at all
    fault:flaky=2        the first two tries of this text get a 500
    fault:leak           a 401 that quotes the complete key

`GET /journal` lists what came in (header names only, never the key) and when each client went away.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from typing import Any

import openai_media as media
import schemas
from aiohttp import web
from skeleton import GATES, JOURNAL, NUMBERS, USED, before_answer, knobs, pause, serve

MODELS = {
    "gpt-4o", "gpt-4o-mini", "gpt-5", "tiny", "text-embedding-3-small", "embedding-floats", "whisper-1", "tts-1",
    "dall-e-3", "gpt-image-1.5", "bge-reranker-v2-m3",
}  # fmt: skip
DEPLOYMENTS = {"gpt-4o-2024-05-13", "my-gpt", "gpt-4o"}
"""Of the paths that Azure has."""
AZURE_VERSIONS = ("2024-02-15-preview", "2024-10-21")
ROLES = ("system", "developer", "user", "assistant", "tool")
SEEN: dict[str, int] = {}


class Refusal(Exception):
    def __init__(self, status: int, message: str, kind: str, code: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
        self.headers = headers

    def response(self) -> web.Response:
        return web.json_response(self.body, status=self.status, headers=self.headers)


FAULTS = {
    "quota": (
        429,
        "You exceeded your current quota, please check your plan.",
        "insufficient_quota",
        "insufficient_quota",
    ),
    "context": (
        400,
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
        "invalid_request_error",
        "context_length_exceeded",
    ),
    "filter": (400, "The response was filtered by our policy.", "invalid_request_error", "content_filter"),
    "401": (401, "Incorrect API key provided: sk-ab***yz.", "invalid_request_error", "invalid_api_key"),
    "403": (403, "Country, region, or territory not supported.", "request_forbidden", "unsupported_country"),
    "404": (404, "The model does not exist.", "invalid_request_error", "model_not_found"),
    "429": (429, "Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
}


def last_text(messages: list[dict[str, Any]]) -> str:
    content = messages[-1].get("content") or ""
    if isinstance(content, str):
        return content
    text = " ".join(str(part.get("text", "")) for part in content if "text" in part)
    return text + media.images_in(messages, bad)


def bad(message: str) -> Refusal:
    return Refusal(400, message, "invalid_request_error", "invalid_value")


def check_model(body: Any) -> None:
    """Refuse a body without a model, or with an unknown one."""
    if not body.get("model"):
        raise Refusal(400, "you must provide a model parameter", "invalid_request_error")
    if body["model"] not in MODELS | DEPLOYMENTS:
        text = f"The model `{body['model']}` does not exist or you do not have access to it."
        raise Refusal(404, text, "invalid_request_error", "model_not_found")


def check_turns(messages: list[dict[str, Any]]) -> None:
    """Refuse calls without results, and turns of the model that are empty, as OpenAI and stricter servers do."""
    open_calls: set[str] = set()
    for number, message in enumerate(messages):
        if message["role"] == "tool":
            open_calls.discard(message.get("tool_call_id"))
            continue
        if open_calls:
            names = ", ".join(sorted(open_calls))
            raise bad(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
                f" 'tool_call_id'. The following tool_call_ids did not have response messages: {names}"
            )
        open_calls = {call["id"] for call in message.get("tool_calls") or []}
        for call in message.get("tool_calls") or []:
            if not isinstance(call["function"]["arguments"], str):
                raise bad(f"Invalid type for 'messages[{number}].tool_calls[0].function.arguments': expected a string.")
        content = message.get("content")
        if message["role"] == "assistant" and not open_calls and not (content and str(content).strip()):
            raise bad(f"message at position {number} with role 'assistant' must not be empty")


def check(body: Any) -> None:
    """Refuse what OpenAI refuses."""
    if not isinstance(body, dict):
        raise Refusal(400, "We could not parse the JSON body of your request.", "invalid_request_error")
    check_model(body)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refusal(
            400, "Missing required parameter: 'messages'.", "invalid_request_error", "missing_required_parameter"
        )
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise Refusal(400, "Invalid value: 'messages[].role'.", "invalid_request_error", "invalid_value")
    check_turns(messages)
    check_reasoning(body)
    for name, kind in (("temperature", (int, float)), ("max_tokens", int), ("stream", bool), ("stream_options", dict)):
        if name in body and not isinstance(body[name], kind):
            raise Refusal(400, f"Invalid type for '{name}'.", "invalid_request_error", "invalid_type")
    if "stream_options" in body and not body.get("stream"):
        raise Refusal(
            400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "invalid_request_error"
        )


def check_reasoning(body: dict[str, Any]) -> None:
    """Refuse what a reasoning model refuses: https://developers.openai.com/api/docs/guides/reasoning."""
    if body["model"] == "tiny" and "max_completion_tokens" in body:  # an older server
        raise bad("Unrecognized request argument supplied: max_completion_tokens")
    if body["model"] != "gpt-5":
        return
    if "max_tokens" in body:
        raise bad(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
    if body.get("temperature", 1) != 1:
        raise bad(
            f"Unsupported value: 'temperature' does not support {body['temperature']} with this model."
            " Only the default (1) value is supported."
        )


def authorize(request: web.Request) -> None:
    key = request.app["key"]
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if request.path.startswith("/openai/"):
        given = request.headers.get("api-key") or given
    if key and given != key:
        shown = f"{given[:8]}{'*' * 12}{given[-4:]}"  # OpenAI echoes a masked key in just this manner
        raise Refusal(401, f"Incorrect API key provided: {shown}.", "invalid_request_error", "invalid_api_key")


def fault(request: web.Request, asked: dict[str, str], body: dict[str, Any]) -> None:
    """Raise the refusal that the prompt asks for, if it asks for one."""
    name = asked.get("fault", "")
    headers = {"Retry-After": asked["retry_after"]} if "retry_after" in asked else {}
    if asked.get("streams") == "no" and body.get("stream"):
        raise Refusal(
            400,
            "Your organization must be verified to stream this model.",
            "invalid_request_error",
            "unsupported_value",
        )
    if name == "leak":
        raise Refusal(401, f"Bad header {request.headers['Authorization']}", "invalid_request_error", "invalid_api_key")
    if name == "usage" and "stream_options" in body:
        raise Refusal(400, "Unrecognized request argument supplied: stream_options", "invalid_request_error")
    if name.startswith("flaky="):
        SEEN[asked["text"]] = SEEN.get(asked["text"], 0) + 1
        if SEEN[asked["text"]] <= int(name[6:]):
            raise Refusal(500, "The server had an error. Sorry about that!", "server_error")
    if name in FAULTS:
        raise Refusal(*FAULTS[name], **headers)
    if name.isdigit():
        raise Refusal(int(name), "The server had an error. Sorry about that!", "server_error", **headers)


def tokens(asked: dict[str, str]) -> tuple[list[str], float]:
    """Return the tokens of the answer, and the seconds between two."""
    if "tokens" in asked:
        count, _, rate = asked["tokens"].partition("@")
        return [f"t{i} " for i in range(int(count))], 1 / float(rate) if rate else 0.0
    text = asked["say"] if "say" in asked else f"Echo: {asked['text']}"
    return re.findall(r"\s*\S+|\s+$", text), 0.0


class Answer:
    """One answer, streamed."""

    def __init__(
        self, request: web.Request, body: dict[str, Any], asked: dict[str, str], entry: dict[str, Any]
    ) -> None:
        self.request = request
        self.body = body
        self.asked = asked
        self.entry = entry
        self.fault = asked.get("fault", "")
        self.head = {
            "id": f"chatcmpl-{entry['number']}",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": body["model"],
        }
        self.response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "x-request-id": f"req_{entry['number']}"}
        )

    async def send(self, delta: dict[str, Any], finish: str | None = None, index: int = 0, **more: Any) -> None:
        choices = [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}]
        data = json.dumps({**self.head, "choices": choices, **more}, separators=(",", ":"), ensure_ascii=False)
        await self.response.write(b"data: " + data.encode() + b"\n\n")

    def frame(self, index: int) -> tuple[bytes, bytes]:
        """Return what is before and after a word in its event: made once, as a load test sends many."""
        choices = [{"index": index, "delta": {"content": "WORD"}, "logprobs": None, "finish_reason": None}]
        before, after = json.dumps({**self.head, "choices": choices}, separators=(",", ":")).split('"WORD"')
        return b"data: " + before.encode(), after.encode() + b"\n\n"

    async def run(self) -> web.StreamResponse:
        await self.response.prepare(self.request)
        await self.send({"role": "assistant", "content": "", "refusal": None})
        if "tool" in self.asked:
            count = await self.call_tool()
        else:
            count = await self.words()
        if count is None:
            return self.response
        for index in range(self.body.get("n") or 1):
            await self.send({}, "tool_calls" if "tool" in self.asked else "stop", index)
        await self.usage(count)
        await self.response.write(b"data: [DONE]\n\n")
        self.entry["finished"] = time.time()
        return self.response

    async def words(self) -> int | None:
        """Send the text; None when a fault has ended it."""
        if "think" in self.asked:
            await self.send({"reasoning_content": self.asked["think"]})
        words, gap = tokens(self.asked)
        limit = limit_of(self.body, len(words))
        frames = [self.frame(index) for index in range(self.body.get("n") or 1)]
        started = asyncio.get_running_loop().time()
        for number, word in enumerate(words[:limit]):
            if gap and (wait := started + number * gap - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(wait)
            text = json.dumps(word, ensure_ascii=False).encode()
            await self.response.write(b"".join(before + text + after for before, after in frames))
            self.entry["sent"] = number + 1
            if number == 1 and self.fault and await self.broken():
                return None
            if number == 1 and "rest" in self.asked:
                await GATES[self.asked["rest"]].wait()
        return min(limit, len(words))

    async def broken(self) -> bool:
        """Do the fault that belongs in mid-stream; return whether the stream is over."""
        if self.fault == "garbage":
            await self.response.write(b'data: {"choices": [{"delta": {"cont\n\n')
        elif self.fault == "error":
            body = {"error": {"message": "The engine is overloaded.", "type": "server_error", "code": None}}
            await self.response.write(b"event: error\ndata: " + json.dumps(body).encode() + b"\n\n")
        elif self.fault == "reset":
            assert self.request.transport is not None
            self.request.transport.abort()
        elif self.fault == "hang":
            await asyncio.sleep(600)
        return self.fault in ("garbage", "error", "reset", "truncate")

    async def call_tool(self) -> int:
        """Call a tool in each choice, their pieces by turns."""
        choices = range(self.body.get("n") or 1)
        for index in choices:
            function = {"name": self.asked["tool"], "arguments": ""}
            call = {"index": 0, "id": f"call_{index + 1}", "type": "function", "function": function}
            await self.send({"tool_calls": [call]}, index=index)
        for part in ('{"ci', 'ty": "Pa', 'ris%s"}'):
            for index in choices:
                piece = part.replace("%s", " " * index)
                await self.send({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}, index=index)
        return 4

    async def usage(self, count: int) -> None:
        if self.body.get("stream_options", {}).get("include_usage"):
            data = {**self.head, "choices": [], "usage": usage(count)}
            await self.response.write(b": keep-alive\n\ndata: " + json.dumps(data).encode() + b"\n\n")


def limit_of(body: dict[str, Any], count: int) -> int:
    limit: int = body.get("max_completion_tokens", body.get("max_tokens", count))
    return limit


def usage(count: int) -> dict[str, int]:
    return {"prompt_tokens": 7, "completion_tokens": count, "total_tokens": 7 + count}


def complete(body: dict[str, Any], asked: dict[str, str], entry: dict[str, Any]) -> web.Response:
    """Return an answer that is not streamed."""
    name = asked.get("fault", "")
    if name == "html":
        return web.Response(text="<html><title>Welcome</title></html>", content_type="text/html")
    if name == "garbage":
        return web.Response(text='{"choices": [', content_type="application/json")
    if name == "error":
        return web.json_response({"error": {"message": "Upstream is gone.", "code": 502}})
    words, _ = tokens(asked)
    words = words[: limit_of(body, len(words))]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(words), "refusal": None}
    if "think" in asked:
        message["reasoning_content"] = asked["think"]
    if "tool" in asked:
        call = {
            "id": "call_1",
            "type": "function",
            "function": {"name": asked["tool"], "arguments": '{"city": "Paris"}'},
        }
        message |= {"content": None, "tool_calls": [call]}
    finish = "tool_calls" if "tool" in asked else "stop"
    choices = [
        {"index": i, "message": message, "logprobs": None, "finish_reason": finish} for i in range(body.get("n", 1))
    ]
    head = {"id": f"chatcmpl-{entry['number']}", "object": "chat.completion", "created": 1, "model": body["model"]}
    headers = {"x-request-id": f"req_{entry['number']}"}
    return web.json_response({**head, "choices": choices, "usage": usage(len(words))}, headers=headers)


async def completions(request: web.Request) -> web.StreamResponse:
    entry: dict[str, Any] = {
        "number": next(NUMBERS),
        "path": request.path,
        "at": time.time(),
        "key": USED.get(),
        "headers": sorted(name.lower() for name in request.headers),
        "request_id": request.headers.get("x-request-id"),
        "client": request.transport.get_extra_info("peername") if request.transport else None,
    }
    JOURNAL.append(entry)
    try:
        return await answer(request, entry)
    except Refusal as refusal:
        entry["status"] = refusal.status
        return refusal.response()
    except (asyncio.CancelledError, ConnectionError):
        entry["gone"] = time.time()
        raise


def check_azure(request: web.Request) -> None:
    """Refuse what Azure refuses: https://learn.microsoft.com/azure/ai-foundry/openai/reference."""
    if "deployment" not in request.match_info:
        return
    if request.query.get("api-version") not in AZURE_VERSIONS:
        raise Refusal(404, "Resource not found", "invalid_request_error", "404")
    if request.match_info["deployment"] not in DEPLOYMENTS:
        message = "The API deployment for this resource does not exist."
        raise Refusal(404, message, "invalid_request_error", "DeploymentNotFound")


async def other(request: web.Request) -> web.StreamResponse:
    """Serve an endpoint beside chat."""
    entry: dict[str, Any] = {"number": next(NUMBERS), "path": request.path, "at": time.time(), "key": USED.get()}
    entry["request_id"] = request.headers.get("x-request-id")
    JOURNAL.append(entry)
    try:
        authorize(request)
        check_azure(request)
        return await served(request, entry)
    except Refusal as refusal:
        entry["status"] = refusal.status
        return refusal.response()
    except (asyncio.CancelledError, ConnectionError):
        entry["gone"] = time.time()
        raise


async def served(request: web.Request, entry: dict[str, Any]) -> web.StreamResponse:
    endpoint = request.match_info["endpoint"]
    if endpoint == "audio/transcriptions":
        form = await request.post()
        fault(request, knobs(str(form.get("prompt", ""))), {})
        return await media.transcriptions(request, check_model, bad)
    if endpoint == "images/edits":
        return await media.edits(request, check_model, bad)
    body = await request.json()
    entry["body"] = {name: value if len(str(value)) < 500 else "..." for name, value in body.items()}
    check_model(body)
    text = next((body[name] for name in ("input", "prompt", "query") if name in body), "")
    asked = knobs(text if isinstance(text, str) else str(text[0]))
    await before_answer(request, asked)
    fault(request, asked, body)
    if endpoint == "audio/speech":
        return await media.speech(request, body, bad)
    if endpoint == "images/generations":
        return await media.generations(request, body, bad)
    return await (media.embeddings if endpoint == "embeddings" else media.rerank)(body, bad)


async def answer(request: web.Request, entry: dict[str, Any]) -> web.StreamResponse:
    authorize(request)
    check_azure(request)
    with contextlib.suppress(ValueError):
        entry["body"] = await request.json()
    body = entry.get("body")
    check(body)
    asked = knobs(last_text(body["messages"]))
    form = body.get("response_format")
    if isinstance(form, dict) and form.get("type") == "json_schema" and asked.keys() == {"text"}:
        asked["say"] = json.dumps(schemas.value(form["json_schema"]["schema"]))
    await pause(asked)
    fault(request, asked, body)
    if asked.get("fault") == "silence" or (asked.get("fault") == "hang" and not body.get("stream")):
        await asyncio.sleep(600)
    if asked.get("fault") == "refuse" and request.transport:
        request.transport.abort()
    if not body.get("stream"):
        return complete(body, asked, entry)
    if asked.get("fault") == "html":
        return web.Response(text="<html><title>Welcome</title></html>", content_type="text/html")
    return await Answer(request, body, asked, entry).run()


async def models(request: web.Request) -> web.Response:
    try:
        authorize(request)
    except Refusal as refusal:
        return refusal.response()
    return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in sorted(MODELS)]})


def add_routes(app: web.Application) -> None:
    MODELS.update(name for name in app["models"].split(",") if name)
    endpoints = "{endpoint:embeddings|rerank|audio/speech|audio/transcriptions|images/generations|images/edits}"
    for base in ("/v1", "/openai/v1", "/openai/deployments/{deployment}"):
        app.router.add_post(f"{base}/chat/completions", completions)
        app.router.add_post(f"{base}/{endpoints}", other)
    app.router.add_get("/images/{name}.png", media.image)
    app.router.add_get("/v1/models", models)


if __name__ == "__main__":
    serve(__doc__, add_routes, models="more model names that it knows, with commas")
