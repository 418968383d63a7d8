"""A strict Ollama: /api/chat as NDJSON, and /api/embed, with its errors.

    python tests/servers/ollama.py --port 8000 --key key-of-a-proxy

Fields are those of https://github.com/ollama/ollama/blob/main/docs/openapi.yaml and api/types.go there, statuses and
sentences those of server/routes.go and https://docs.ollama.com/api/errors: ``{"error": "a sentence"}``, with status
200 when the stream has begun. As there, tool calls come complete, with their arguments as an object, and usage and
`done_reason` come with `done`. Ollama itself has no keys; a proxy in front of it may (https://docs.ollama.com/api/authentication).

More faults: `error` (an error inside a stream), `leak` (quotes the key), `load` (the model does not fit).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from typing import Any

from aiohttp import web
from skeleton import before_answer, close_now, knobs, noted, serve

CHATS = ("llama3:70b-instruct-q4_0", "qwen3", "llava")
EMBEDS = ("nomic-embed-text", "bge-m3")
CHAT_FIELDS = {
    "model": str,
    "messages": list,
    "stream": bool,
    "format": (str, dict),
    "keep_alive": (str, int),
    "tools": list,
    "options": dict,
    "think": (bool, str),
    "truncate": bool,
    "shift": bool,
    "logprobs": bool,
    "top_logprobs": int,
}
EMBED_FIELDS = {
    "model": str,
    "input": list,
    "keep_alive": (str, int),
    "truncate": bool,
    "dimensions": int,
    "options": dict,
}
OPTIONS: dict[str, Any] = {
    "temperature": (int, float),
    "top_p": (int, float),
    "top_k": int,
    "min_p": (int, float),
    "seed": int,
    "num_ctx": int,
    "num_predict": int,
    "repeat_penalty": (int, float),
    "frequency_penalty": (int, float),
    "presence_penalty": (int, float),
    "stop": list,
}
TURN = {"role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id"}
CONTEXT = 4096
"""Tokens that a prompt and its answer may have, where the request does not say it (`OLLAMA_CONTEXT_LENGTH`)."""
TEMPLATE = 5
"""Tokens around each message."""
FAULTS = {
    "401": (401, "unauthorized"),
    "403": (403, "remote inference is unavailable"),
    "404": (404, "model 'gone' not found"),
    "context": (400, "the input length exceeds the context length"),
    "429": (429, "you've reached your hourly usage limit, please upgrade to continue"),
    "500": (500, "the model failed to generate a response"),
    "529": (503, "server busy, please try again.  maximum pending requests exceeded"),
    "load": (500, "model requires more system memory (40.2 GiB) than is available (3.9 GiB)"),
}


class Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def typed(body: dict[str, Any], fields: dict[str, Any], where: str) -> None:
    for name, value in body.items():
        if name not in fields:
            raise Refusal(400, f"invalid option provided: {where}{name}")
        if not isinstance(value, fields[name]) or (isinstance(value, bool) and fields[name] not in (bool, (bool, str))):
            raise Refusal(400, f"json: cannot unmarshal {type(value).__name__} into Go struct field {where}{name}")


def check(body: Any, models: tuple[str, ...], fields: dict[str, Any]) -> None:
    if not isinstance(body, dict):
        raise Refusal(400, "missing request body")
    typed(body, fields, "")
    if not body.get("model"):
        raise Refusal(400, "model is required")
    if body["model"] not in models:
        raise Refusal(404, f"model '{body['model']}' not found")
    typed(body.get("options", {}), OPTIONS, "options.")


def check_chat(body: dict[str, Any]) -> None:
    for turn in body["messages"]:
        if unknown := set(turn) - TURN:
            raise Refusal(400, f"unknown field {unknown}")
        if turn.get("role") not in ("system", "user", "assistant", "tool") or not isinstance(turn.get("content"), str):
            raise Refusal(400, "json: cannot unmarshal array into Go struct field ChatRequest.messages.content")
        for call in turn.get("tool_calls", []):
            if not isinstance(call["function"]["arguments"], dict):
                raise Refusal(400, "json: cannot unmarshal string into arguments of type map[string]any")
        for image in turn.get("images", []):
            check_image(image, body["model"])
    if body.get("think") and body["model"] != "qwen3":
        raise Refusal(400, f'"{body["model"]}" does not support thinking')
    if isinstance(body.get("keep_alive"), str) and not re.fullmatch(r"-?[\d.]+(ms|s|m|h)", body["keep_alive"]):
        raise Refusal(400, "time: missing unit in duration")
    if isinstance(body.get("format"), str) and body["format"] != "json":
        raise Refusal(400, f'invalid format: "{body["format"]}"; expected "json" or a valid JSON Schema object')


def check_image(image: Any, model: str) -> None:
    if model != "llava":
        raise Refusal(400, "this model is missing data required for image input")
    try:
        base64.b64decode(image, validate=True)
    except (TypeError, binascii.Error) as err:
        raise Refusal(400, "illegal base64 data at input byte 4") from err


def messages_of(asked: dict[str, str], body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of an answer."""
    if "tool" in asked:
        names = [tool["function"]["name"] for tool in body.get("tools", [])]
        calls = [
            {"id": "call_a1", "function": {"index": 0, "name": asked["tool"].strip(), "arguments": {"city": "杭州"}}}
        ]
        if asked["tool"].strip() not in names:
            raise Refusal(400, "no such tool")
        return [
            {"content": "", "tool_calls": calls},
            {"content": "", "tool_calls": [{"function": calls[0]["function"]}]},
        ]
    text = asked.get("say") or "Echo: " + asked.get("think", asked["text"])
    thoughts = words(asked["think"]) if "think" in asked and body.get("think") else []
    return [{"content": "", "thinking": word} for word in thoughts] + [{"content": word} for word in words(text)]


def words(text: str) -> list[str]:
    return re.findall(r"\s*\S+\s*", text)


def tokens_read(body: dict[str, Any]) -> int:
    """Return how many tokens of the prompt the model reads.

    A conversation that is longer than the context loses its oldest turns, but no instructions and not the last turn;
    what is still longer loses its beginning, until half of the context is free: as in server/prompt.go, and as
    https://github.com/ollama/ollama/issues/17427 measures it.
    """
    context = body.get("options", {}).get("num_ctx", CONTEXT)
    *earlier, last = body["messages"]
    if body.get("truncate") is False and tokens_of([*earlier, last]) > context:
        raise Refusal(*FAULTS["context"])
    while tokens_of([*earlier, last]) > context and (old := [turn for turn in earlier if turn["role"] != "system"]):
        earlier.remove(old[0])
    count = tokens_of([*earlier, last])
    return count if count <= context else context // 2 + 2


def tokens_of(turns: list[dict[str, Any]]) -> int:
    """Return the tokens of a conversation: as many as models have for English, and a few of the chat template."""
    return sum(len(re.findall(r"[\u3000-\uffff]|\w{1,8}|[^\w\s]", turn["content"])) + TEMPLATE for turn in turns)


def ending(body: dict[str, Any], count: int) -> dict[str, Any]:
    limit = body.get("options", {}).get("num_predict", count)
    reason = "length" if limit < count else "stop"
    return {
        "done": True,
        "done_reason": reason,
        "total_duration": 5,
        "prompt_eval_count": tokens_read(body),
        "eval_count": min(limit, count),
    }


async def chat(request: web.Request, body: dict[str, Any], asked: dict[str, str]) -> web.StreamResponse:
    check_chat(body)
    messages, fault = messages_of(asked, body), asked.get("fault", "")
    end = ending(body, len(messages))
    messages = messages[: end["eval_count"]]
    common = {"model": body["model"], "created_at": "2026-11-23T00:00:00Z"}
    if not body.get("stream", True):
        if fault == "garbage":
            return web.Response(text="<html>Hello</html>", content_type="text/html")
        if fault in ("truncate", "reset", "error"):
            raise Refusal(*FAULTS["500"])
        return answer({**common, "message": joined(messages), **end})
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    for number, message in enumerate(messages):
        await asyncio.sleep(0.005)
        if number == 2 and await broken(request, response, fault):
            return response
        await line(response, {**common, "message": {"role": "assistant", **message}, "done": False})
    await line(response, {**common, "message": {"role": "assistant", "content": ""}, **end})
    await response.write_eof()
    return response


def joined(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return messages as one."""
    complete: dict[str, Any] = {"role": "assistant", "content": "".join(message["content"] for message in messages)}
    if thoughts := "".join(message.get("thinking", "") for message in messages):
        complete["thinking"] = thoughts
    if calls := [call for message in messages for call in message.get("tool_calls", [])]:
        complete["tool_calls"] = calls
    return complete


async def broken(request: web.Request, response: web.StreamResponse, fault: str) -> bool:
    """Do what a fault inside a stream does; return whether that was the end."""
    if fault == "error":
        await line(response, {"error": "an error was encountered while running the model"})
    elif fault == "garbage":
        await response.write(b'{"model": nonsense\n')
    elif fault == "reset":
        close_now(request)
    elif fault == "hang":
        await asyncio.sleep(600)
    else:
        return fault == "truncate"
    return True


async def line(response: web.StreamResponse, data: Any) -> None:
    await response.write(json.dumps(data, ensure_ascii=False).encode() + b"\n")


def embed(body: dict[str, Any], asked: dict[str, str]) -> web.Response:
    texts = body["input"]
    if not all(isinstance(text, str) for text in texts):
        raise Refusal(400, "invalid input type")
    size = body.get("dimensions", 4)
    # The first number identifies the text.
    rows = [[float(text.rpartition("#")[2]), *[0.5] * (size - 1)] for text in texts]
    if asked.get("fault") == "truncate":
        rows = rows[1:]
    return answer({"model": body["model"], "embeddings": rows, "total_duration": 5, "prompt_eval_count": len(texts)})


def answer(body: Any, status: int = 200, **headers: str) -> web.Response:
    text = json.dumps(body, ensure_ascii=False)
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)


@noted
async def service(request: web.Request, entry: dict[str, Any]) -> web.StreamResponse:
    key = request.app["key"]
    entry["authorized"] = "Authorization" in request.headers
    if key and request.headers.get("Authorization") != f"Bearer {key}":
        return answer({"error": "unauthorized"}, 401)
    asked: dict[str, str] = {}
    try:
        body = entry["body"] = await request.json()
        chats = request.path == "/api/chat"
        check(body, CHATS if chats else EMBEDS, CHAT_FIELDS if chats else EMBED_FIELDS)
        asked = knobs(body["messages"][-1]["content"] if chats else body["input"][0])
        if asked.get("streams") == "no" and body.get("stream", True):
            raise Refusal(400, "streaming is not supported by this proxy")
        await before_answer(request, asked)
        if asked.get("fault") == "leak":
            raise Refusal(401, f"bad header {request.headers['Authorization']}")
        if asked.get("fault") in FAULTS:
            raise Refusal(*FAULTS[asked["fault"]])
        return await chat(request, body, asked) if chats else embed(body, asked)
    except Refusal as err:
        headers = {"Retry-After": asked["retry_after"]} if "retry_after" in asked else {}
        return answer({"error": str(err)}, err.status, **headers)


def add_routes(app: web.Application) -> None:
    app.router.add_post("/api/chat", service)
    app.router.add_post("/api/embed", service)


if __name__ == "__main__":
    serve(__doc__, add_routes)
