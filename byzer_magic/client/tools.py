"""Python functions as tools: their schemas, and the loop that calls them and sends the model what they returned."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints

import msgspec

from byzer_magic.capabilities import Capability
from byzer_magic.client.converse import Exchange, aconverse
from byzer_magic.client.manager import Manager
from byzer_magic.client.messages import Prompt
from byzer_magic.errors import CommandError, RequestError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.results import ChatResult
from byzer_magic.types import ChatRequest, Media, Message

ROUNDS = 8
"""Responses with calls in them before the last one, which must be the answer."""
_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Tool:
    '''A Python function that a model may call.

    Its docstring is the description, its annotations are the types; `Annotated[int, "days from today"]` describes an
    argument, and `{"enum": [...]}` among them is put into its schema.

    Example:
        >>> def weather(city: str) -> str:
        ...     """Return the weather of a city."""
        ...     return "sunny"
        >>> tool = Tool(weather)
        >>> tool.call('{"city": "Paris"}'), tool.schema["function"]["description"]
        ('sunny', 'Return the weather of a city.')
    '''

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self._arguments = _arguments_of(function, self.name)

    @property
    def schema(self) -> dict[str, Any]:
        """Return the tool in OpenAI's form."""
        schema = self._arguments.model_json_schema()
        schema.pop("title", None)
        described = {"name": self.name, "description": inspect.getdoc(self.function) or "", "parameters": schema}
        return {"type": "function", "function": described}

    def call(self, arguments: str | Mapping[str, Any], **more: Any) -> Any:
        """Call the function and return what it returns.

        Args:
            arguments: what the model wrote, JSON or the object in it.
            more: further arguments, which the model does not know.

        Raises:
            ValueError: the arguments are not those of the function.
        """
        given = json.loads(arguments or "{}") if isinstance(arguments, str) else arguments
        checked = self._arguments.model_validate(given)
        values = {
            name: getattr(checked, name) for name in type(checked).model_fields if name in checked.model_fields_set
        }
        return self.function(**values, **more)


def _arguments_of(function: Callable[..., Any], name: str) -> Any:
    """Return a pydantic model of a function's arguments."""
    import pydantic

    parameters = [each for each in inspect.signature(function).parameters.values() if each.kind not in _ANY_NUMBER]
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for each in parameters:
        default = ... if each.default is inspect.Parameter.empty else each.default
        kind, told = _described(hints.get(each.name, Any))
        fields[each.name] = (kind, pydantic.Field(default, **told))
    return pydantic.create_model(name, **fields)


def _described(hint: Any) -> tuple[Any, dict[str, Any]]:
    """Return an argument's type, and what its annotation says about it."""
    if get_origin(hint) is not Annotated:
        return hint, {}
    kind, *notes = get_args(hint)
    told: dict[str, Any] = {}
    for note in notes:
        if isinstance(note, str):
            told["description"] = note
        elif isinstance(note, dict):
            told["json_schema_extra"] = note
    others = tuple(note for note in notes if not isinstance(note, str | dict))
    return (Annotated[(kind, *others)] if others else kind), told


def functions_in(tools: Any) -> list[Tool]:
    """Return the Python functions among a request's tools.

    Raises:
        CommandError: two have the same name.
    """
    if not isinstance(tools, Sequence) or isinstance(tools, str):
        return []
    found = [Tool(each) for each in tools if callable(each)]
    if len({tool.name for tool in found}) < len(found):
        raise CommandError(_("Two of the tools have the same name."), _("Give each function a name of its own."))
    return found


def with_schemas(tools: Sequence[Any]) -> list[Any]:
    """Return a request's tools with the schemas of functions in their places."""
    return [Tool(each).schema if callable(each) else each for each in tools]


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
    the other; a coroutine function runs in the loop of the requests. A call of a tool that is not a function ends the
    loop: it is the caller's, in `tool_calls`.

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
    sent = {**options, "tools": with_schemas(options["tools"])}
    exchange = await aconverse(
        manager, alias, prompt, system=system, attached=attached, options=sent, stream=False, timeout=timeout,
        capability=Capability.CHAT,
    )  # fmt: skip
    talk = Rounds(cast("ChatRequest", exchange.request), functions_in(options["tools"]), rounds)
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
            return self._with(self._tool.call(self.arguments))
        except Exception as err:  # noqa: BLE001 - the model is told, whatever it is
            return self._failed(err)

    async def adone(self) -> dict[str, Any]:
        """Like `done`, with the function in a thread, or awaited if it is a coroutine function."""
        try:
            if inspect.iscoroutinefunction(self._tool.function):
                return self._with(await self._tool.call(self.arguments))
            return self._with(await asyncio.to_thread(self._tool.call, self.arguments))
        except Exception as err:  # noqa: BLE001 - the model is told, whatever it is
            return self._failed(err)

    def _with(self, value: Any) -> dict[str, Any]:
        return {"name": self.name, "arguments": self.arguments, "result": _text(value)}

    def _failed(self, err: Exception) -> dict[str, Any]:
        return self._with(f"Error: {type(err).__name__}: {err}")


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
