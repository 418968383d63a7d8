"""A strict little DashScope (its own API), that fails on request; see skeleton.py for the knobs in prompts.

    python tests/servers/dashscope.py --port 8000 --key sk-test

Fields: https://www.alibabacloud.com/help/en/model-studio/qwen-api-via-dashscope,
https://help.aliyun.com/zh/model-studio/text-embedding-api,
https://www.alibabacloud.com/help/en/model-studio/text-rerank-api; statuses, codes and sentences:
https://www.alibabacloud.com/help/en/model-studio/error-code. The schema of events, empty IDs of later tool call deltas,
and errors of streams as `event:error` with status 200 are as in the recorded traffic of
https://github.com/cnblogs/dashscope-sdk (test/Cnblogs.DashScope.Tests.Shared/RawHttpData). A model is served at one
path only, a stream without `incremental_output` repeats all text so far, and finish_reason is "null" until the end.

More faults: `arrearage`, `filter`, `unpurchased`, `leak` (quotes the key), `error` (an `event:error` inside a stream),
`hang` (silence inside a stream), `html`, `empty` (a response without choices).
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from skeleton import before_answer, close_now, knobs, noted, serve

SERVICES = "/api/v1/services"
TEXT = f"{SERVICES}/aigc/text-generation/generation"
MULTIMODAL = f"{SERVICES}/aigc/multimodal-generation/generation"
EMBED = f"{SERVICES}/embeddings/text-embedding/text-embedding"
RERANK = f"{SERVICES}/rerank/text-rerank/text-rerank"

PATHS = {
    "qwen-plus": TEXT,
    "qwen1.5-32b-chat": TEXT,
    "qwen-max": TEXT,
    "qwen-vl-chat-v1": MULTIMODAL,
    "qwen3.7-max": TEXT,
    "qwen-renamed": MULTIMODAL,  # a name that does not show it
    "qwen3.6-plus": MULTIMODAL,
    "qwen3.6-odd": TEXT,  # a misleading name
    "qwen-vl-max": MULTIMODAL,
    "text-embedding-v2": EMBED,
    "text-embedding-v4": EMBED,
    "qwen3.7-text-embedding": EMBED,
    "gte-rerank-v2": RERANK,
}
ROWS = {"text-embedding-v2": 25, "text-embedding-v4": 10, "qwen3.7-text-embedding": 20}
DIMENSIONS = {"text-embedding-v2": (1536,), "text-embedding-v4": (64, 128, 256, 512, 768, 1024, 1536, 2048)}
TYPES: dict[str, Any] = {
    **dict.fromkeys(("temperature", "top_p"), (int, float)),
    **dict.fromkeys(("top_k", "max_tokens", "seed", "n"), int),
    **dict.fromkeys(("enable_search", "enable_thinking", "incremental_output"), bool),
    "tools": list,
    "stop": (str, list),
}
PARTS = ("text", "image", "audio", "video")

URL_ERROR = (
    "url error, please check url！ For details, see: https://help.aliyun.com/zh/model-studio/error-code#error-url"
)
FAULTS = {
    "401": (401, "InvalidApiKey", "Invalid API-key provided."),
    "403": (403, "AccessDenied", "Access denied."),
    "unpurchased": (403, "AccessDenied.Unpurchased", "Access to model denied."),
    "404": (404, "ModelNotFound", "Model can not be found."),
    "context": (400, "InvalidParameter", "Range of input length should be [1, 30720]"),
    "429": (429, "Throttling.RateQuota", "Requests rate limit exceeded, please try again later."),
    "500": (500, "InternalError.Algo", "An internal error has occured during execution, please try again later."),
    "529": (503, "ModelServingError", "Too many requests. Your requests are being throttled."),
    "filter": (400, "DataInspectionFailed", "Input or output data may contain inappropriate content."),
    "arrearage": (400, "Arrearage", "Access denied, please make sure your account is in good standing."),
}


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message, "request_id": "r-refused"}


def invalid(message: str) -> Refusal:
    return Refusal(400, "InvalidParameter", message)


def check(body: Any, path: str) -> None:
    """Refuse what DashScope refuses."""
    if not isinstance(body, dict) or not isinstance(body.get("input"), dict):
        raise Refusal(400, "BadRequest.EmptyInput", "Required input parameter missing from request.")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Refusal(400, "BadRequest.EmptyModel", 'Required parameter "model" missing from request.')
    if model not in PATHS:
        raise Refusal(404, "ModelNotFound", "Model can not be found.")
    if PATHS[model] != path:
        raise invalid(URL_ERROR)
    parameters = body.get("parameters", {})
    if not isinstance(parameters, dict):
        raise invalid("parameters must be an object")
    for name, kind in TYPES.items():
        value = parameters.get(name)
        if name in parameters and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise invalid(f"{name} has a wrong type")


def check_chat(body: dict[str, Any], *, parts: bool, stream: bool) -> None:
    turns = body["input"].get("messages")
    if not isinstance(turns, list) or not turns:
        raise invalid('Either "prompt" or "messages" must exist and cannot both be none')
    for turn in turns:
        if turn.get("role") not in ("system", "user", "assistant", "tool"):
            raise invalid("Role must be in [user, assistant, system, tool]")
        content = turn.get("content")
        if not isinstance(content, list if parts else str):
            raise invalid("Input should be a valid list" if parts else "Input should be a valid string")
        if parts and any(len(part) != 1 or next(iter(part)) not in PARTS for part in content):
            raise invalid("Input content is of an unknown type")
        if turn["role"] == "assistant" and not (content and str(content).strip()) and not turn.get("tool_calls"):
            raise invalid("The content field is a required field.")
        if turn["role"] == "tool" and "tool_call_id" not in turn:
            raise invalid("tool_call_id is missing")
    parameters = body["parameters"]
    if parameters.get("enable_thinking") and not stream:
        raise invalid("parameter.enable_thinking must be set to false for non-streaming calls")
    if not parts and parameters.get("result_format") != "message":
        raise invalid("result_format must be message")


def last_text(body: dict[str, Any]) -> str:
    given = body["input"]
    if "texts" in given:
        return str(given["texts"][0])
    if "query" in given:
        return str(given["query"])
    content = given["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    texts = "".join(part.get("text", "") for part in content)
    return texts + "".join(f" [{part['image'][:14].removeprefix('data:')}]" for part in content if "image" in part)


def fail(request: web.Request, asked: dict[str, str]) -> None:
    """Raise the refusal that the prompt asks for, if it asks for one."""
    name = asked.get("fault", "")
    if name == "leak":
        raise Refusal(401, "InvalidApiKey", f"Invalid API-key provided: {request.headers['Authorization'][7:]}")
    if name in FAULTS:
        raise Refusal(*FAULTS[name])


def counts(chunks: int) -> dict[str, int]:
    return {"input_tokens": 7, "output_tokens": chunks, "total_tokens": 7 + chunks}


def deltas(asked: dict[str, str], body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the deltas of a response as messages with plain text."""
    if "tool" in asked:
        name = asked["tool"].strip()
        if name not in [tool["function"]["name"] for tool in body["parameters"].get("tools", [])]:
            raise invalid(f"there is no tool {name}")
        first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": '{"city": '}}
        later = {"index": 0, "id": "", "type": "function", "function": {"arguments": '"杭州"}'}}
        return [{"content": "", "tool_calls": [first]}, {"content": "", "tool_calls": [later]}]
    text = asked.get("say") or "Echo: " + asked.get("think", asked["text"])
    thoughts = [{"content": "", "reasoning_content": delta} for delta in words(asked.get("think", ""))]
    return thoughts + [{"content": delta} for delta in words(text)]


def words(text: str) -> list[str]:
    return re.findall(r"\s*\S+\s*", text)


def joined(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return deltas as one message."""
    message: dict[str, Any] = {"content": "".join(delta["content"] for delta in chunks)}
    if thoughts := "".join(delta.get("reasoning_content", "") for delta in chunks):
        message["reasoning_content"] = thoughts
    calls = [delta["tool_calls"][0] for delta in chunks if "tool_calls" in delta]
    if calls:
        arguments = "".join(call["function"]["arguments"] for call in calls)
        message["tool_calls"] = [calls[0] | {"function": calls[0]["function"] | {"arguments": arguments}}]
    return message


def output(message: dict[str, Any], finish: str, body: dict[str, Any], *, parts: bool) -> dict[str, Any]:
    if parts:
        message = message | {"content": [{"text": message["content"]}] if message["content"] else []}
    count = body["parameters"].get("n", 1)
    choices = [{"message": {**message, "role": "assistant"}, "finish_reason": finish} for _ in range(count)]
    if count > 1:
        choices = [{**choice, "index": index} for index, choice in enumerate(choices)]
    return {"choices": choices}


async def chat(request: web.Request, body: dict[str, Any], asked: dict[str, str]) -> web.StreamResponse:
    parts = request.path == MULTIMODAL
    stream = request.headers.get("X-DashScope-SSE") == "enable"
    check_chat(body, parts=parts, stream=stream)
    chunks = deltas(asked, body)
    finish = "tool_calls" if "tool" in asked else "stop"
    if not stream:
        if asked.get("fault") in ("truncate", "reset", "error"):
            raise Refusal(*FAULTS["500"])
        result = output(joined(chunks), finish, body, parts=parts)
        if asked.get("fault") == "empty":
            result = {"choices": []}
        return answer({"output": result, "usage": counts(len(chunks)), "request_id": "r-1"})
    response = await events(request)
    async for number, message, final in timed(chunks, incremental=bool(body["parameters"].get("incremental_output"))):
        if number == 3 and await broken(request, response, asked.get("fault", "")):
            return response
        data = {
            "output": output(message, finish if final else "null", body, parts=parts),
            "usage": counts(number),
            "request_id": "r-1",
        }
        if number == 1 and body["parameters"].get("enable_search"):
            data["output"]["search_info"] = {"search_results": [{"index": 1, "title": "T", "url": "http://t"}]}
        await event(response, number, data)
    await response.write_eof()
    return response


async def timed(chunks: list[dict[str, Any]], *, incremental: bool) -> AsyncIterator[tuple[int, dict[str, Any], bool]]:
    """Yield number, message and whether it is the last; all text so far, unless `incremental`."""
    for number in range(1, len(chunks) + 1):
        await asyncio.sleep(0.005)
        yield number, chunks[number - 1] if incremental else joined(chunks[:number]), number == len(chunks)


async def broken(request: web.Request, response: web.StreamResponse, fault: str) -> bool:
    """Do what a fault inside a stream does; return whether that was the end."""
    if fault == "error":
        code, message = "DataInspectionFailed", "Output data may contain inappropriate content."
        await event(response, 3, {"code": code, "message": message, "request_id": "r-1"}, status=400)
    elif fault == "garbage":
        await response.write(b'id:3\nevent:result\n:HTTP_STATUS/200\ndata:{"output": nonsense\n\n')
    elif fault == "reset":
        close_now(request)
    elif fault == "hang":
        await asyncio.sleep(600)
    else:
        return fault == "truncate"
    return True


async def events(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream;charset=UTF-8", "X-Request-Id": "r-1"})
    await response.prepare(request)
    return response


async def event(response: web.StreamResponse, number: int, data: Any, status: int = 200) -> None:
    name = "result" if status == 200 else "error"
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    await response.write(f"id:{number}\nevent:{name}\n:HTTP_STATUS/{status}\ndata:{text}\n\n".encode())


async def embed(body: dict[str, Any]) -> web.Response:
    texts, model = body["input"].get("texts"), body["model"]
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise invalid("texts must be a list of strings")
    if len(texts) > ROWS[model]:
        raise invalid(f"Value error, batch size is invalid, it should not be larger than {ROWS[model]}.")
    size = body["parameters"].get("dimension", 4)
    if "dimension" in body["parameters"] and size not in DIMENSIONS.get(model, ()):
        raise invalid(f"dimension {size} is not supported")
    # The first number identifies the text; the order is reversed.
    rows = [{"text_index": index, "embedding": [number(text), *[0.5] * (size - 1)]} for index, text in enumerate(texts)]
    return answer({"output": {"embeddings": rows[::-1]}, "usage": {"total_tokens": len(texts)}, "request_id": "r-1"})


def number(text: str) -> float:
    """Return a number that identifies a text: the one after its #, or a checksum."""
    _, mark, digits = text.rpartition("#")
    return float(digits) if mark else zlib.crc32(text.encode()) / 2**32


async def rerank(body: dict[str, Any]) -> web.Response:
    documents = body["input"].get("documents")
    if not isinstance(documents, list) or not documents:
        raise invalid("documents must be a list")
    order = sorted(range(len(documents)), key=lambda index: -len(documents[index]))
    found = [{"index": index, "relevance_score": len(documents[index]) / 100} for index in order]
    found = found[: body["parameters"].get("top_n", len(found))]
    return answer({"output": {"results": found}, "usage": {"total_tokens": 9}, "request_id": "r-1"})


def answer(body: Any, status: int = 200, **headers: str) -> web.Response:
    text = json.dumps(body, ensure_ascii=False)
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)


@noted
async def service(request: web.Request, entry: dict[str, Any]) -> web.StreamResponse:
    if request.headers.get("Authorization") != f"Bearer {request.app['key']}":
        return answer({"code": "InvalidApiKey", "message": "Invalid API-key provided.", "request_id": "r-0"}, 401)
    asked: dict[str, str] = {}
    try:
        body = entry["body"] = await request.json()
        check(body, request.path)
        asked = knobs(last_text(body))
        if asked.get("streams") == "no" and streams(request):
            raise invalid("The model does not support stream mode.")
        await before_answer(request, asked)
        fail(request, asked)
        if asked.get("fault") == "html" or (asked.get("fault") == "garbage" and not streams(request)):
            return web.Response(text="<html><title>Hello</title></html>", content_type="text/html")
        if request.path == EMBED:
            return await embed(body)
        if request.path == RERANK:
            return await rerank(body)
        return await chat(request, body, asked)
    except Refusal as err:
        if streams(request) and "retry_after" not in asked:
            response = await events(request)
            await event(response, 1, err.body, status=err.status)
            await response.write_eof()
            return response
        headers = {"Retry-After": asked["retry_after"]} if "retry_after" in asked else {}
        return answer(err.body, err.status, **headers)


def streams(request: web.Request) -> bool:
    return request.headers.get("X-DashScope-SSE") == "enable"


def add_routes(app: web.Application) -> None:
    for path in (TEXT, MULTIMODAL, EMBED, RERANK):
        app.router.add_post(path, service)


if __name__ == "__main__":
    serve(__doc__, add_routes)
