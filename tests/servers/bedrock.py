"""A strict little Bedrock: signatures are verified, streams are framed as AWS frames them.

Operations: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock_Runtime.html; signing:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html (recomputed with botocore's own code); frames:
https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html. The key is ACCESS:SECRET.
It answers "Echo: <last user text>", word by word; knobs and faults are those of skeleton.py, and inside a stream
`fault:throttle` is an exception, `fault:hang` silence. `fault:limit` and `fault:titan` are `fault:context`
in other models' words.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import struct
import zlib
from itertools import pairwise
from typing import Any

from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from skeleton import before_answer, close_now, knobs, noted, serve

MODELS = ("anthropic.claude-3-5-sonnet-20240620-v1:0", "amazon.nova-lite-v1:0")
VERSION = "bedrock-2023-05-31"
REGION = "us-east-1"
FAULTS = {
    "401": (403, "UnrecognizedClientException", "The security token included in the request is invalid."),
    "403": (403, "AccessDeniedException", "You don't have access to the model with the specified model ID."),
    "404": (404, "ResourceNotFoundException", "This model version has reached the end of its life."),
    "context": (400, "ValidationException", "Input is too long for requested model."),
    "limit": (
        400,
        "ValidationException",
        "The model returned the following errors: input length and `max_tokens` exceed context limit: "
        "196395 + 64000 > 204698, decrease input length or `max_tokens` and try again",
    ),
    "titan": (
        400,
        "ValidationException",
        "400 Bad Request: Too many input tokens. Max input tokens: 4096, request input token count: 7262",
    ),
    "429": (429, "ThrottlingException", "Too many requests, please wait before trying again."),
    "500": (500, "InternalServerException", "The system encountered an unexpected error during processing."),
    "529": (503, "ServiceUnavailableException", "Bedrock is unable to process your request."),
}


class Refusal(Exception):
    def __init__(self, status: int, kind: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.headers = status, kind, message, headers

    def response(self) -> web.Response:
        headers = {"x-amzn-ErrorType": f"{self.kind}:http://internal.amazon.com/coral/", "x-amzn-RequestId": "r-1"}
        return web.json_response({"message": self.message}, status=self.status, headers={**headers, **self.headers})


def check_signature(request: web.Request, data: bytes) -> None:
    """Refuse a request whose signature is not the one of our key."""
    if not request.app["key"]:
        return
    access, _, secret = request.app["key"].partition(":")
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request, SignedHeaders=(\S+), Signature=(\w+)",
        request.headers.get("Authorization", ""),
    )
    if not found:
        raise Refusal(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    if found[1] != access:
        raise Refusal(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
    if (found[2], found[3]) != (REGION, "bedrock"):
        raise Refusal(403, "InvalidSignatureException", "Credential should be scoped to a valid region.")
    signer = SigV4Auth(Credentials(access, secret, request.headers.get("X-Amz-Security-Token")), found[3], found[2])
    headers = {name: request.headers[name] for name in found[4].split(";")}
    again = AWSRequest("POST", f"http://{request.host}{request.raw_path}", data=data, headers=headers)
    again.context["timestamp"] = request.headers["X-Amz-Date"]
    text = signer.string_to_sign(again, signer.canonical_request(again))
    if signer.signature(text, again) != found[5]:
        raise Refusal(403, "InvalidSignatureException", "The request signature we calculated does not match.")


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    head = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack(">I", zlib.crc32(message))


def event(kind: str, data: Any) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, json.dumps(data).encode())


def exception(kind: str, message: str) -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, json.dumps({"message": message}).encode())


def words(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)


def check_blanks(where: str, blocks: list[dict[str, Any]]) -> None:
    if not blocks:
        raise Refusal(400, "ValidationException", f"The content field in the Message object at {where} is empty.")
    for number, block in enumerate(blocks):
        if "toolResult" in block:
            check_blanks(f"{where}.content.{number}.toolResult", block["toolResult"]["content"])
        if "text" in block and not block["text"].strip():
            place = f"the ContentBlock object at {where}.content.{number}"
            raise Refusal(400, "ValidationException", f"The text field in {place} is blank. Add text, and try again.")


def check_results(turns: list[dict[str, Any]]) -> None:
    """Refuse calls that the next turn has no results of."""
    for turn, after in pairwise([*turns, {"content": []}]):
        calls = {block["toolUse"]["toolUseId"] for block in turn["content"] if "toolUse" in block}
        results = {block["toolResult"]["toolUseId"] for block in after["content"] if "toolResult" in block}
        if missing := calls - results:
            message = f"Expected toolResult blocks at messages.1.content for the following Ids: {min(missing)}"
            raise Refusal(400, "ValidationException", message)


class Converse:
    """Bodies and events of Converse."""

    def __init__(self, body: dict[str, Any]) -> None:
        if unknown := set(body) - {
            "messages",
            "system",
            "inferenceConfig",
            "toolConfig",
            "additionalModelRequestFields",
        }:
            raise Refusal(400, "ValidationException", f"Unknown parameter: {min(unknown)}")
        roles = [turn["role"] for turn in body.get("messages", [])]
        if not roles or roles[0] != "user" or any(a == b for a, b in pairwise(roles)):
            raise Refusal(400, "ValidationException", "A conversation must alternate between user and assistant roles.")
        for number, turn in enumerate(body["messages"]):
            check_blanks(f"messages.{number}", turn["content"])
        check_blanks("system", body.get("system", [{"text": "-"}]))
        check_results(body["messages"])
        self.system = " ".join(part["text"] for part in body.get("system", []))
        self.text = " ".join(filter(None, map(self.text_in, body["messages"][-1]["content"])))

    @staticmethod
    def text_in(block: dict[str, Any]) -> str:
        if "image" in block:
            size = len(base64.b64decode(block["image"]["source"]["bytes"]))
            return f"[{block['image']['format']} {size}]"
        if "toolResult" in block:
            return f"<{block['toolResult']['toolUseId']}: {block['toolResult']['content'][0]['text']}>"
        return block.get("text", "")

    def complete(self, blocks: list[dict[str, Any]]) -> dict[str, Any]:
        reason = "tool_use" if any("toolUse" in block for block in blocks) else "end_turn"
        usage = {"inputTokens": 7, "outputTokens": 3, "totalTokens": 10}
        message = {"role": "assistant", "content": blocks}
        return {"output": {"message": message}, "stopReason": reason, "usage": usage, "metrics": {"latencyMs": 3}}

    def blocks(self, asked: dict[str, str]) -> list[dict[str, Any]]:
        thought = {"reasoningContent": {"reasoningText": {"text": asked.get("think", ""), "signature": "s"}}}
        found: list[dict[str, Any]] = [thought] if "think" in asked else []
        if "tool" in asked:
            return [*found, {"toolUse": {"toolUseId": "t1", "name": asked["tool"], "input": {"city": "Paris"}}}]
        text = asked.get("say") or f"Echo: {asked['text']}"
        return [*found, {"text": text + (f" ({self.system})" if self.system else "")}]

    def events(self, blocks: list[dict[str, Any]]) -> list[bytes]:
        found = [event("messageStart", {"role": "assistant"})]
        for index, block in enumerate(blocks):
            at = {"contentBlockIndex": index}
            if "toolUse" in block:
                use = {name: block["toolUse"][name] for name in ("toolUseId", "name")}
                found.append(event("contentBlockStart", {"start": {"toolUse": use}, **at}))
                data = json.dumps(block["toolUse"]["input"])
                deltas: list[Any] = [{"toolUse": {"input": part}} for part in (data[:4], data[4:])]
            elif "text" in block:
                deltas = [{"text": word} for word in words(block["text"])]
            else:
                deltas = [{"reasoningContent": {"text": block["reasoningContent"]["reasoningText"]["text"]}}]
            found += [event("contentBlockDelta", {"delta": delta, **at}) for delta in deltas]
            found.append(event("contentBlockStop", at))
        response = self.complete(blocks)
        return [
            *found,
            event("messageStop", {"stopReason": response["stopReason"]}),
            event("metadata", {"usage": response["usage"], "metrics": {"latencyMs": 3}}),
        ]


class Invoke:
    """Bodies and events of InvokeModel with an Anthropic model."""

    def __init__(self, body: dict[str, Any]) -> None:
        if body.get("anthropic_version") != VERSION:
            raise Refusal(400, "ValidationException", f"Invalid anthropic_version: {body.get('anthropic_version')}")
        if "max_tokens" not in body or "model" in body or "stream" in body:
            raise Refusal(400, "ValidationException", "max_tokens: Field required; model, stream: not permitted")
        content = body["messages"][-1]["content"] if body.get("messages") else ""
        if not content:
            raise Refusal(400, "ValidationException", "messages: at least one message is required")
        if any(part.get("source", {}).get("type") == "url" for part in content if isinstance(part, dict)):
            raise Refusal(
                400, "ValidationException", "messages.0.content.0.image.source.type: Input should be 'base64'"
            )
        self.text = content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)

    def complete(self, blocks: list[dict[str, Any]]) -> dict[str, Any]:
        usage = {"input_tokens": 7, "output_tokens": 3}
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "c"}
        return {**head, "content": blocks, "stop_reason": "end_turn", "usage": usage}

    def blocks(self, asked: dict[str, str]) -> list[dict[str, Any]]:
        return [{"type": "text", "text": asked.get("say") or f"Echo: {asked['text']}"}]

    def events(self, blocks: list[dict[str, Any]]) -> list[bytes]:
        start = {"type": "message_start", "message": {**self.complete([]), "stop_reason": None}}
        opening = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        deltas = [
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
            for word in words(blocks[0]["text"])
        ]
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}
        every = [start, opening, *deltas, {"type": "content_block_stop", "index": 0}, end, {"type": "message_stop"}]
        return [event("chunk", {"bytes": base64.b64encode(json.dumps(item).encode()).decode()}) for item in every]


async def answer(request: web.Request, entry: dict[str, Any]) -> web.StreamResponse:
    asked: dict[str, str] = {}
    operation = request.match_info["operation"]
    try:
        data = await request.read()
        check_signature(request, data)
        if request.match_info["model"] not in MODELS:
            raise Refusal(400, "ValidationException", "The provided model identifier is invalid.")
        body = entry["body"] = json.loads(data)
        talk = Converse(body) if operation.startswith("converse") else Invoke(body)
        asked = knobs(talk.text)
        if asked.get("streams") == "no" and operation.endswith("-stream"):
            raise Refusal(
                403,
                "AccessDeniedException",
                "User: arn:aws:iam::1:user/me is not authorized to perform: bedrock:InvokeModelWithResponseStream",
            )
        await before_answer(request, asked)
        if asked.get("fault") in FAULTS:
            more = {"Retry-After": asked["retry_after"]} if "retry_after" in asked else {}
            raise Refusal(*FAULTS[asked["fault"]], **more)
    except Refusal as refusal:
        return refusal.response()
    blocks = talk.blocks(asked)
    if operation in ("converse", "invoke"):
        return web.json_response(talk.complete(blocks), headers={"x-amzn-RequestId": "r-1"})
    return await stream(request, talk.events(blocks), asked.get("fault", ""))


async def stream(request: web.Request, frames: list[bytes], fault: str) -> web.StreamResponse:
    kind = "application/vnd.amazon.eventstream"
    response = web.StreamResponse(headers={"Content-Type": kind, "x-amzn-RequestId": "r-1"})
    await response.prepare(request)
    for number, data in enumerate(frames):
        if fault and number == 4:
            if fault == "garbage":
                await response.write(b"\x00\x01garbage" * 20)
            elif fault == "throttle":
                await response.write(exception("throttlingException", "Too many tokens, please wait."))
            elif fault == "reset":
                close_now(request)
            elif fault == "hang":
                await asyncio.sleep(600)
            return response
        await response.write(data)
    return response


def add_routes(app: web.Application) -> None:
    operations = "converse|converse-stream|invoke|invoke-with-response-stream"
    app.router.add_post(rf"/model/{{model:[^/]+}}/{{operation:{operations}}}", noted(answer))


if __name__ == "__main__":
    serve(__doc__, add_routes)
