"""The loop of a chat with functions: it calls those that a model asks for, and sends what they returned."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

import msgspec

from byzer_magic.capabilities import Capability
from byzer_magic.client.converse import Exchange, aconverse
from byzer_magic.client.manager import Manager
from byzer_magic.client.messages import Prompt
from byzer_magic.client.tools import Tool, split
from byzer_magic.client.typed import words_of
from byzer_magic.errors import RequestError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.results import ChatResult
from byzer_magic.types import ChatRequest, Media, Message

ROUNDS = 8
"""Responses with calls in them before the last one, which must be the answer."""


async def ask_with_tools(
    manager: Manager,
    alias: str,
    prompt: Prompt,
    options: Mapping[str, Any],
    *,
    system: str | None = None,
    attached: Sequence[Media] = (),
    timeout: float | None = None,
    rounds: int = ROUNDS,
) -> ChatResult:
    """Return the answer of a model that may call functions; `raw["calls"]` lists what it called.

    A function that raises tells the model its error, so that it can call again. Functions run in a thread, one after
    the other; a coroutine function in a loop of its own there. A call of a tool that is not a function ends the
    conversation: it is the caller's, in `tool_calls`.

    Args:
        manager: connects to the deployment.
        alias: the deployment, which the manager can reach.
        prompt: a text, or a conversation in OpenAI's form.
        options: OpenAI's request fields; functions are among the `tools`.
        system: a system prompt, put before the conversation.
        attached: images and audio to go with the last message.
        timeout: deadline for each response, in seconds.
        rounds: responses with calls in them, at most.

    Raises:
        RequestError: a response is incomplete, or the model goes on calling after `rounds`.
    """
    functions, schemas = split(options["tools"])
    sent = {**options, "tools": schemas}
    exchange = await aconverse(
        manager, alias, prompt, system=system, attached=attached, options=sent, stream=False, timeout=timeout,
        capability=Capability.CHAT,
    )  # fmt: skip
    talk = Rounds(cast("ChatRequest", exchange.request), functions, rounds)
    while True:
        result = cast("ChatResult", await Exchange(manager, alias, talk.request).run())
        if not (calls := talk.calls(result)):
            return talk.answer(result)
        talk.add(result, [await call.adone() for call in calls])


class Call:
    """A function that a model calls."""

    def __init__(self, tool: Tool, call: Mapping[str, Any]) -> None:
        self.id = call.get("id")
        self.name = tool.name
        self.arguments: str = call["function"].get("arguments") or "{}"
        self._tool = tool

    def done(self) -> dict[str, Any]:
        """Call the function here, and return the call with its result, as texts; an error is a result, too."""
        try:
            return self._with(returned(self._tool, self.arguments))
        except Exception as err:  # noqa: BLE001 - the model is told, whatever it is
            return self._with(f"Error: {type(err).__name__}: {words_of(err)}")

    async def adone(self) -> dict[str, Any]:
        """Like `done`, in a thread: what the function waits for may need this loop."""
        return await asyncio.wrap_future(_in_thread(self.done))

    def _with(self, value: Any) -> dict[str, Any]:
        return {"name": self.name, "arguments": self.arguments, "result": _text(value)}


class Rounds:
    """A conversation with a model that calls functions: after a response its calls, after the calls the next request.

    Args:
        request: the first request.
        tools: the functions that may be called.
        rounds: responses with calls in them, at most.
    """

    def __init__(self, request: ChatRequest, tools: Sequence[Tool], rounds: int = ROUNDS) -> None:
        self.request = request
        self._known = {tool.name: tool for tool in tools}
        self._left = rounds
        self._rounds = rounds
        self._made: list[dict[str, Any]] = []

    def calls(self, result: ChatResult) -> list[Call]:
        """Return the calls in a response; none where it is the answer, or has a call of a tool that is the caller's.

        Raises:
            RequestError: there were too many rounds.
        """
        calls = result.tool_calls or []
        if not all(call["function"]["name"] in self._known for call in calls):
            return []
        if calls and not self._left:
            err = RequestError(
                _("{alias} still calls tools after {count} rounds.", alias=result.model, count=self._rounds),
                _("Ask for less at once, or return from the tools what the model needs to answer."),
            )
            err.partial = result
            raise err
        return [Call(self._known[call["function"]["name"]], call) for call in calls]

    def add(self, result: ChatResult, done: Sequence[dict[str, Any]]) -> None:
        """Continue with what the calls of a response have returned, in their order."""
        calls = result.tool_calls or []
        results = [
            Message("tool", each["result"], tool_call_id=call.get("id")) for call, each in zip(calls, done, strict=True)
        ]
        turns = [Message("assistant", result.text or None, tool_calls=calls), *results]
        self.request = msgspec.structs.replace(self.request, messages=[*self.request.messages, *turns])
        self._made += done
        self._left -= 1

    def answer(self, result: ChatResult) -> ChatResult:
        """Return the last response with all calls in its `raw`."""
        return msgspec.structs.replace(result, raw={**result.raw, "calls": self._made})


def _text(value: Any) -> str:
    """Return what a function has returned as a text for the model."""
    if isinstance(value, str):
        return value
    from pydantic_core import to_json

    return to_json(value, fallback=str).decode()


def returned(tool: Tool, arguments: str | Mapping[str, Any]) -> Any:
    """Return what a function returns, or its coroutine, also where a loop runs, as in a notebook.

    Raises:
        ValueError: the arguments are not those of the function.
    """
    value = tool.call(arguments)
    if not inspect.isawaitable(value):
        return value

    async def wait() -> Any:
        return await value

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    return _in_thread(lambda: asyncio.run(wait())).result()


def _in_thread(work: Callable[[], Any]) -> Future[Any]:
    """Run a function in a thread of its own: in a shared pool, calls that wait for further calls could fill it."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="byzer-tool")
    try:
        return pool.submit(contextvars.copy_context().run, work)
    finally:
        pool.shutdown(wait=False)
