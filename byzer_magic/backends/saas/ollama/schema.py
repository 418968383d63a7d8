"""Ollama's bodies: conversations and options in its form out, `ChatChunk` in.

https://github.com/ollama/ollama/blob/main/docs/openapi.yaml; where OpenAI's words have to be mapped, it is done as
Ollama does it for its own OpenAI mode (https://github.com/ollama/ollama/blob/main/openai/openai.go).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from byzer_magic.backends.http.media import to_base64
from byzer_magic.backends.openai.schema import text_or_json
from byzer_magic.errors import BadRequest
from byzer_magic.types import ChatChunk, Media, Message, Usage

PORT = 11434
SETTINGS = {
    "temperature": ("float", "0 is always the likeliest word, 2 is wild"),
    "top_p": ("float", "choose from the likeliest words that make up this share"),
    "top_k": ("int", "choose from this many of the likeliest words"),
    "min_p": ("float", "leave out words less likely than this share of the likeliest one"),
    "repeat_penalty": ("float", "above 1: against repeated words"),
    "seed": ("int", "same seed, same answer"),
    "num_ctx": ("int", "tokens of context; Ollama cuts longer conversations"),
    "num_predict": ("int", "longest answer, in tokens"),
    "max_tokens": ("int", "the same, by OpenAI's name"),
    "stop": ("text", "text, or a JSON list of texts, at which the answer ends"),
    "think": ("text", "whether to reason first: true, false, or low, medium, high, max"),
    "keep_alive": ("text", "how long the model stays in memory afterwards: 5m, 0, -1 for ever"),
}
"""Settings of a deployment: type and meaning."""
TOP = ("model", "think", "keep_alive", "format", "tools", "logprobs", "top_logprobs", "dimensions", "truncate")
"""Fields of a request that are not below `options`."""
RENAMED = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}
NOT_SENT = (
    "n",
    "user",
    "stream_options",
    "parallel_tool_calls",
    "tool_choice",
    "response_format",
    "reasoning_effort",
    "encoding_format",
    "logit_bias",
)
"""Options of OpenAI's that Ollama has no word for, or another one."""
EFFORTS: dict[str, Any] = {"none": False, "minimal": "low", "low": "low", "medium": "medium", "high": "high"}
"""How long to think; any other word is the most."""


class Function(msgspec.Struct):
    name: str
    arguments: dict[str, Any] | None = None


class Call(msgspec.Struct):
    function: Function
    id: str = ""


class Said(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[Call] | None = None


class Answer(msgspec.Struct):
    """A line of a stream, a whole answer, or vectors."""

    message: Said | None = None
    done: bool = False
    done_reason: str | None = None
    model: str = ""
    prompt_eval_count: int = 0
    eval_count: int = 0
    logprobs: list[Any] | None = None
    embeddings: list[list[float]] | None = None


def base_url(text: str) -> str:
    """Return the base URL for what `saas.base_url` or `OLLAMA_HOST` has: scheme and port may be missing in the latter.

    Example:
        >>> base_url("localhost"), base_url("0.0.0.0:80"), base_url("https://ollama.x.com/api/")
        ('http://localhost:11434', 'http://127.0.0.1:80', 'https://ollama.x.com')
    """
    text = text.strip().rstrip("/").removesuffix("/api")
    if "://" not in text:
        text = f"http://{text}" if re.search(r":\d+$", text) else f"http://{text}:{PORT}"
    return re.sub(r"//(0\.0\.0\.0|\[::\])(?=[:/]|$)", "//127.0.0.1", text)  # where it listens; not where it is


def defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deployment's settings, without their `saas.`."""
    return {name: _setting(name, given[f"saas.{name}"]) for name in SETTINGS if f"saas.{name}" in given}


def _setting(name: str, value: Any) -> Any:
    if name == "stop":
        return text_or_json(value)
    if name == "think":
        return {"true": True, "false": False}.get(value.lower(), value)
    if name == "keep_alive" and re.fullmatch(r"-?\d+", value):
        return int(value)  # seconds; as text it would need a unit
    return value


def body(asked: Mapping[str, Any], extra: Mapping[str, Any], **own: Any) -> dict[str, Any]:
    """Return a request: `own` and what it is asked with Ollama's words; names unknown here go below `options`."""
    said = {**asked, **_translated(asked)}
    options = {RENAMED.get(name, name): value for name, value in said.items() if name not in (*TOP, *NOT_SENT)}
    top = {name: said[name] for name in TOP if said.get(name) is not None}
    return {**own, **top, **extra, "options": {**options, **extra.get("options", {})}}


def _translated(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what OpenAI's `tool_choice`, `reasoning_effort` and `response_format` mean here."""
    found: dict[str, Any] = {}
    choice = asked.get("tool_choice", "auto")
    if choice == "none":
        found["tools"] = None
    elif choice != "auto":
        raise BadRequest("Ollama cannot be told to use a tool.", "Leave tool_choice out, or set it to auto or none.")
    if "reasoning_effort" in asked:
        found["think"] = EFFORTS.get(asked["reasoning_effort"], "max")
    form = asked.get("response_format")
    form = text_or_json(form) if isinstance(form, str) else form
    kind = form.get("type") if isinstance(form, Mapping) else form
    if kind == "json_schema" and isinstance(form, Mapping):
        found["format"] = form["json_schema"]["schema"]
    elif kind == "json_object":
        found["format"] = "json"
    return found


def messages(turns: Sequence[Message]) -> list[dict[str, Any]]:
    """Return a conversation as Ollama wants it: plain text, and pictures as base64 beside it.

    Raises:
        BadRequest: a picture has but an address, or a part is neither text nor a picture.
    """
    names = {call.get("id"): call["function"]["name"] for turn in turns for call in turn.tool_calls or []}
    return [_turn(turn, names) for turn in turns]


def _turn(turn: Message, names: Mapping[str | None, str]) -> dict[str, Any]:
    parts = turn.content if isinstance(turn.content, list) else [{"type": "text", "text": turn.content or ""}]
    texts = [part["text"] for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    images = [_image(part) for part in parts if isinstance(part, Media) or part.get("type") != "text"]
    said: dict[str, Any] = {"role": "system" if turn.role == "developer" else turn.role, "content": "".join(texts)}
    if images:
        said["images"] = images
    if turn.tool_calls:
        said["tool_calls"] = [_call(call) for call in turn.tool_calls]
    if turn.role == "tool":
        said["tool_call_id"] = turn.tool_call_id
        said["tool_name"] = turn.name or names.get(turn.tool_call_id, "")
    return said


def _image(part: dict[str, Any] | Media) -> str:
    if isinstance(part, Media) and part.is_image:
        return to_base64(part)
    if isinstance(part, Media) or part.get("type") != "image_url":
        raise BadRequest("Ollama takes text and pictures only.", "Leave the other parts out.")
    url: str = part["image_url"]["url"]
    head, found, data = url.partition(";base64,")
    return data if found and head.startswith("data:") else to_base64(Media("image", url=url))


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except ValueError:
        raise BadRequest("The arguments of a tool call are not JSON.", "Send them as the model gave them.") from None
    return {"id": call.get("id", ""), "function": {"name": function["name"], "arguments": arguments}}


def chunk(answer: Answer, numbers: Iterator[int], *, called: bool) -> ChatChunk:
    """Return what a line adds; `numbers` count the tool calls of the answer, `called` tells that there were some."""
    said = answer.message or Said()
    calls = [_delta(call, next(numbers)) for call in said.tool_calls or []]
    extra: dict[str, Any] = {"logprobs": {"content": answer.logprobs}} if answer.logprobs else {}
    finish, usage = None, None
    if answer.done:
        finish = "length" if answer.done_reason == "length" else "tool_calls" if called or calls else "stop"
        usage = Usage(answer.prompt_eval_count, answer.eval_count)
        extra["model"] = answer.model
    return ChatChunk(said.content or "", said.thinking or "", finish, usage, calls or None, extra or None)


def _delta(call: Call, index: int) -> dict[str, Any]:
    """Return a call, which always comes whole, as one of OpenAI's deltas."""
    arguments = json.dumps(call.function.arguments or {}, ensure_ascii=False)
    function = {"name": call.function.name, "arguments": arguments}
    return {"index": index, "id": call.id or f"call_{index}", "type": "function", "function": function}
