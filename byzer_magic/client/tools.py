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
    known = {tool.name: tool for tool in functions_in(options["tools"])}
    sent = {**options, "tools": with_schemas(options["tools"])}
    exchange = await aconverse(
        manager, alias, prompt, system=system, attached=attached, options=sent, stream=False, timeout=timeout,
        capability=Capability.CHAT,
    )  # fmt: skip
    request = cast("ChatRequest", exchange.request)
    made: list[dict[str, Any]] = []
    for _round in range(rounds + 1):
        result = cast("ChatResult", await Exchange(manager, alias, request).run())
        calls = result.tool_calls or []
        if not calls or not all(call["function"]["name"] in known for call in calls):
            return msgspec.structs.replace(result, raw={**result.raw, "calls": made})
        turns = [Message("assistant", result.text or None, tool_calls=calls)]
        for call in calls:
            made.append(done := await _done(known[call["function"]["name"]], call))
            turns.append(Message("tool", done["result"], tool_call_id=call.get("id")))
        request = msgspec.structs.replace(request, messages=[*request.messages, *turns])
    raise _endless(result, rounds)


def _endless(result: ChatResult, rounds: int) -> RequestError:
    err = RequestError(
        _("{alias} still calls tools after {count} rounds.", alias=result.model, count=rounds),
        _("Ask for less at once, or return from the tools what the model needs to answer."),
    )
    err.partial = result
    return err


async def _done(tool: Tool, call: Mapping[str, Any]) -> dict[str, Any]:
    """Return one call with its result, as texts."""
    arguments = call["function"].get("arguments") or "{}"
    try:
        if inspect.iscoroutinefunction(tool.function):
            value = await tool.call(arguments)
        else:
            value = await asyncio.to_thread(tool.call, arguments)
        text = _text(value)
    except Exception as err:  # noqa: BLE001 - the model is told, whatever it is
        text = f"Error: {type(err).__name__}: {err}"
    return {"name": tool.name, "arguments": arguments, "result": text}


def _text(value: Any) -> str:
    """Return what a function has returned as a text for the model."""
    if isinstance(value, str):
        return value
    from pydantic_core import to_json

    return to_json(value, fallback=str).decode()
