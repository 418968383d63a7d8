"""Ollama's wire, for programs that know no other: https://github.com/ollama/ollama/blob/main/docs/api.md."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

import msgspec

from byzer_magic.backends.http.tool_calls import arguments_of, as_text, name_of
from byzer_magic.client.chat_merge import ToolCalls
from byzer_magic.client.messages import to_messages
from byzer_magic.gateway import about, bodies, options
from byzer_magic.gateway.calls import Call, Reply, Stream
from byzer_magic.gateway.meters import missing
from byzer_magic.gateway.problems import bad
from byzer_magic.gateway.wires import encode
from byzer_magic.i18n import gettext as _
from byzer_magic.results import EmbedResult
from byzer_magic.types import ChatRequest, EmbedRequest, Usage

NAMES = {"num_predict": "max_tokens"}
"""Ollama's options that have another name here."""
LATEST = ":latest"
"""What Ollama's clients add to a name without a tag."""
LINES = b"application/x-ndjson"


class Function(msgspec.Struct):
    """What a tool call calls."""

    name: str
    arguments: dict[str, Any] | str | None = None


class ToolCall(msgspec.Struct):
    """A tool call of an earlier answer."""

    function: Function
    id: str | None = None


class Turn(msgspec.Struct):
    """A message."""

    role: str
    content: str | None = None
    images: list[str] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    tool_name: str | None = None
    name: str | None = None


class Options(msgspec.Struct):
    """Ollama's options that models of others have, too; the rest is about how Ollama loads a model."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    num_predict: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None


class Body(msgspec.Struct):
    """A chat, or a prompt to complete."""

    model: str
    messages: Annotated[list[Turn], msgspec.Meta(max_length=bodies.MOST_TURNS)] = []
    prompt: str = ""
    system: str | None = None
    images: list[str] | None = None
    stream: bool | None = None
    tools: bodies.Entries | None = None
    format: str | dict[str, Any] | None = None
    options: Options | None = None
    think: bool | str | None = None


async def chat(call: Call) -> Reply | Stream:
    """Answer a conversation.

    Raises:
        Problem: the request is not valid.
    """
    body = bodies.typed(await call.json(), Body)
    if not body.messages:
        raise bad(_("messages is empty."), "messages")
    turns = [_turn(turn) for turn in body.messages]
    return await _answer(call, body, turns, _in_chat)


async def generate(call: Call) -> Reply | Stream:
    """Answer a prompt.

    Raises:
        Problem: the request is not valid.
    """
    body = bodies.typed(await call.json(), Body)
    system = [{"role": "system", "content": body.system}] if body.system else []
    turn = _turn(Turn("user", body.prompt, body.images))
    return await _answer(call, body, [*system, turn], _in_generate)


async def _answer(call: Call, body: Body, turns: list[dict[str, Any]], place: Any) -> Reply | Stream:
    name = _name(call, body.model)
    facts = await call.gateway.deployments.facts(name, call.client)
    asked = msgspec.structs.asdict(body.options or Options())
    given = {NAMES.get(name, name): value for name, value in asked.items() if value is not None}
    if given.get("max_tokens", 1) < 1:  # -1 is no limit
        given.pop("max_tokens")
    if body.tools:
        given["tools"] = body.tools
    if body.format == "json":
        given["response_format"] = {"type": "json_object"}
    elif isinstance(body.format, dict):
        given["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": body.format}}
    elif body.format:  # Ollama takes an empty one
        raise bad(_("format is {value}, which is neither json nor a schema.", value=repr(body.format[:100])), "format")
    messages, given = options.with_json_mode(to_messages(turns), options.for_backend(given, facts), facts)
    streams = body.stream is not False
    request = ChatRequest(messages=messages, options=given, stream=streams)
    lines = _lines(call, body.model, name, request, place)
    if streams:
        return Stream(lines, LINES)
    text = thoughts = ""
    calls: list[Any] = []
    last: dict[str, Any] = {}
    async for last in lines_of(lines):
        part = last.get("message") or {"content": last.get("response", ""), "thinking": last.get("thinking", "")}
        text += part.get("content") or ""
        thoughts += part.get("thinking") or ""
        calls += part.get("tool_calls") or []
    return Reply({**last, **place(text, thoughts, calls)})


async def lines_of(lines: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """Yield lines of JSON as objects."""
    async with aclosing(lines):  # type: ignore[type-var]  # a generator
        async for line in lines:
            yield msgspec.json.decode(line)


def _name(call: Call, model: str) -> str:
    """Return the name of a model without the tag that Ollama's clients add."""
    return model if call.gateway.deployments.is_served(model) else model.removesuffix(LATEST)


def _turn(turn: Turn) -> dict[str, Any]:
    """Return a message in OpenAI's form."""
    content: Any = turn.content or ""
    if turn.images:
        parts = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}} for image in turn.images]
        content = [*([{"type": "text", "text": content}] if content else []), *parts]
    found = {"role": turn.role, "content": content}
    if turn.tool_calls:
        found["tool_calls"] = [_call(call, number) for number, call in enumerate(turn.tool_calls)]
    if turn.role == "tool":
        found["tool_call_id"] = turn.tool_call_id or f"call_{turn.tool_name or turn.name or 0}"
    return found


def _call(call: ToolCall, number: int) -> dict[str, Any]:
    name, identity = call.function.name, call.id or f"call_{call.function.name or number}"
    arguments = as_text(call.function.arguments or {})
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def _in_chat(text: str, thoughts: str, calls: list[Any]) -> dict[str, Any]:
    more: dict[str, Any] = {"thinking": thoughts} if thoughts else {}
    return {"message": {"role": "assistant", "content": text, **more, **({"tool_calls": calls} if calls else {})}}


def _in_generate(text: str, thoughts: str, _calls: list[Any]) -> dict[str, Any]:
    return {"response": text, **({"thinking": thoughts} if thoughts else {})}


async def _lines(call: Call, shown: str, model: str, request: ChatRequest, place: Any) -> AsyncIterator[bytes]:
    calls, finish, first = ToolCalls(), "stop", None
    started = time.monotonic()
    async with aclosing(call.items(model, request)) as items:  # type: ignore[type-var]  # a generator
        async for chunk in items:
            first = first or time.monotonic()
            finish = chunk.finish or finish
            for delta in chunk.tool_calls or ():
                calls.add(delta)
            if chunk.text or chunk.reasoning:
                yield _line(shown, place(chunk.text, chunk.reasoning, []), done=False)
    if whole := calls.result():  # Ollama's have no pieces
        made = [{"id": one["id"], "function": {"name": name_of(one), "arguments": arguments_of(one)}} for one in whole]
        yield _line(shown, place("", "", made), done=False)
    usage = call.usage or Usage()
    ended = time.monotonic()
    counts = {
        "done_reason": "length" if finish == "length" else "stop",
        "total_duration": _nanoseconds(ended - started),
        "load_duration": 0,
        "prompt_eval_count": usage.prompt_tokens,
        **missing(usage),
        "prompt_eval_duration": _nanoseconds((first or ended) - started),
        "eval_count": usage.completion_tokens,
        "eval_duration": _nanoseconds(ended - (first or ended)),
    }
    yield _line(shown, {**place("", "", []), **counts}, done=True)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _line(model: str, fields: dict[str, Any], *, done: bool) -> bytes:
    return encode({"model": model, "created_at": _now(), **fields, "done": done}) + b"\n"


# ---- embeddings and names


class Texts(msgspec.Struct):
    """Texts to embed."""

    model: str
    input: str | list[str]
    dimensions: int | None = None


async def embed(call: Call) -> Reply:
    """Return an embedding for each text.

    Raises:
        Problem: the request is not valid.
    """
    body = bodies.typed(await call.json(), Texts)
    texts = [body.input] if isinstance(body.input, str) else body.input
    more = {} if body.dimensions is None else {"dimensions": body.dimensions}
    request = EmbedRequest(texts=texts, options=more)
    result: EmbedResult = await call.result(_name(call, body.model), request)
    counts = {"prompt_eval_count": result.usage.prompt_tokens if result.usage else 0}
    return Reply({"model": body.model, "embeddings": result.vectors.tolist(), **counts})


async def tags(call: Call) -> Reply:
    """List the models that the client may use."""
    found = await call.gateway.deployments.models(call.client)
    empty = {"format": "", "family": "", "families": [], "parameter_size": "", "quantization_level": ""}
    models = [
        {
            "name": name, "model": name, "modified_at": _now(), "size": 0, "digest": "",
            "details": {**empty, "family": stat.kind}, "capabilities": stat.capabilities,
        }
        for name, stat in found
    ]  # fmt: skip
    return Reply({"models": models})


version = about.version
