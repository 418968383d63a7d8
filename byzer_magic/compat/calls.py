"""One call of `ByzerLLM`: plain, as a value of a type, with tools; and the decorators that make calls."""

from __future__ import annotations

import datetime
import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from byzer_magic.client import structured
from byzer_magic.client.calling import returned
from byzer_magic.client.model import Model
from byzer_magic.client.signatures import hints_of
from byzer_magic.client.tools import split
from byzer_magic.client.typed import NotThatType, Typed
from byzer_magic.compat.responses import EventName, LLMClassResponse, LLMFunctionCallResponse, LLMResponse
from byzer_magic.errors import MalformedResponse
from byzer_magic.prompts.asker import Turns, ask_typed
from byzer_magic.results import ChatResult, Result

if TYPE_CHECKING:
    from byzer_magic.compat.setup import Setters


@dataclass(frozen=True, slots=True)
class Call:
    """A conversation on its way to a model."""

    client: Setters
    model: Model
    turns: Turns
    options: dict[str, Any]
    config: Mapping[str, Any]
    """The settings that `options` were made of, with the caller's names."""

    @property
    def input(self) -> dict[str, Any]:
        """Return what is sent, in byzer-llm's form."""
        return {"instruction": self.turns[-1].get("content"), "history": self.turns[:-1], **self.config}

    def ask(self) -> LLMResponse:
        """Return the response, after the client's callbacks."""
        return self._between_callbacks(lambda: self.model.chat(self.turns, **self.options))[0]

    def result(self) -> tuple[LLMResponse, Any]:
        """Return the response in byzer-llm's form, and the result itself; None where a callback has taken its place."""
        return self._between_callbacks(lambda: self.model.chat(self.turns, **self.options))

    def typed(self, typed: Typed[Any], *, told: bool = False, prefix: str = "") -> tuple[Any, LLMResponse]:
        """Return the value that the response has, and the response.

        Raises:
            MalformedResponse: neither the first response nor the second is such a value.
        """
        found: list[Any] = []

        def send() -> ChatResult:
            value, result = ask_typed(self.model, self.turns, typed, self.options, told=told, prefix=prefix)
            found.append(value)
            return result  # type: ignore[no-any-return]  # an asker's own kind

        response, result = self._between_callbacks(send)
        return (found[0] if result is not None else self._read(typed, response.output)), response

    def _read(self, typed: Typed[Any], text: Any) -> Any:
        """Return the value in what a callback has put in the place of a response."""
        try:
            return typed.read(str(text))
        except NotThatType as err:
            raise structured.malformed(typed, ChatResult(model=self.model.alias, text=str(text)), str(err)) from None

    def answered(self) -> LLMResponse | None:
        """Return what the callbacks answer in place of the model; None where the request is to be sent.

        A callback may change the instruction and the history, which are then sent.
        """
        item = self.input
        instead = self.client.trigger(EventName.BEFORE_CALL_MODEL, self.client, self.model.alias, [item])
        self.turns[:] = [*item["history"], {**self.turns[-1], "content": item["instruction"]}]
        return None if instead is None else _from_callback(instead)

    def streamed(self, result: Result) -> None:
        """Show the callbacks a response that has arrived in pieces; what they answer comes too late."""
        if self.client.event_callbacks:
            self.arrived(result)

    def arrived(self, result: Result) -> tuple[LLMResponse, Any]:
        """Return a response after the callbacks, and the result; None where a callback has taken its place."""
        response = LLMResponse(result.output, self.input, metadata(result))
        told = {"predict": response.output, "input": response.input, "metadata": response.metadata}
        instead = self.client.trigger(EventName.AFTER_CALL_MODEL, self.client, self.model.alias, [told])
        return (response, result) if instead is None else (_from_callback(instead), None)

    def _between_callbacks(self, send: Callable[[], Result]) -> tuple[LLMResponse, Any]:
        answered = self.answered()
        return self.arrived(send()) if answered is None else (answered, None)


def _from_callback(items: Sequence[Mapping[str, Any]]) -> LLMResponse:
    item = items[0]
    return LLMResponse(item["predict"], item.get("input"), dict(item.get("metadata", {})))


def metadata(result: Result) -> dict[str, Any]:
    """Return what is known about a result, under byzer-llm's names; times are in seconds."""
    usage, times = result.usage, result.timings
    known = {
        "request_id": getattr(result, "raw", {}).get("id", ""),
        "input_tokens_count": usage.prompt_tokens if usage else 0,
        "generated_tokens_count": usage.completion_tokens if usage else 0,
        "time_cost": times.total,
        "first_token_time": times.first_token or 0,
        "speed": usage.completion_tokens / times.total if usage and times.total else 0,
    }
    if isinstance(result, ChatResult):
        known |= {"finish_reason": result.finish, "reasoning_content": result.reasoning}
    return known


# ---- typed responses


def as_class(call: Call, kind: Any) -> LLMClassResponse:
    """Return the response as a value of a type; None where it is not one."""
    try:
        value, response = call.typed(Typed(kind))
    except MalformedResponse as err:
        response = LLMResponse(err.partial.output, call.input, metadata(err.partial))
        return LLMClassResponse(response=response, value=None, metadata={"reason": err.localized()})
    return LLMClassResponse(response=response, value=value, metadata={"reason": ""})


def implement(call: Call, function: Callable[..., Any], arguments: Mapping[str, Any], kind: Any) -> LLMClassResponse:
    """Return what a model says that a function returns; byzer-llm runs code that the model writes, this none."""
    kind = kind or hints_of(function, "return").get("return", str)
    told = "\n".join(
        [
            f"Return what this function returns: {function.__name__}{inspect.signature(function)}",
            f"What it does: {inspect.getdoc(function) or function.__name__}",
            f"Its arguments: {dict(arguments)!r}" if arguments else "It is called without arguments.",
            f"It is now {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z (%A)}.",
        ]
    )
    *before, last = call.turns
    said = last.get("content") or ""
    asked = {
        **last,
        "content": f"{said}\n\n{told}" if isinstance(said, str) else [*said, {"type": "text", "text": told}],
    }
    return as_class(replace(call, turns=[*before, asked]), kind)


# ---- tools


def with_tools(
    call: Call, tools: Sequence[Any], choice: Any, more: Mapping[str, Any], *, execute: bool
) -> LLMResponse | LLMFunctionCallResponse:
    """Return the response of a model that may call functions, and what they returned where they are to be called.

    Args:
        call: the conversation.
        tools: Python functions, or tools of OpenAI's form.
        choice: the function that must be called, or OpenAI's value; None leaves that to the model.
        more: further arguments for the functions that take them, which the model does not see.
        execute: whether the functions are called.
    """
    given = [*tools, *([choice] if callable(choice) else [])]
    made, schemas = split([tool for place, tool in enumerate(given) if tool not in given[:place]], hidden=more)
    known = {tool.name: tool for tool in made}
    options = {**call.options, "tools": schemas}
    if choice:
        name = next((tool.name for tool in made if tool.function == choice), choice)
        options["tool_choice"] = {"type": "function", "function": {"name": name}} if name in known else choice
    response, result = replace(call, options=options).result()
    calls = (result.tool_calls if result is not None else None) or []
    if calls and not response.output:
        response.output = _as_json(calls)
    if not execute:
        return response
    reason = "" if calls else "The model called no function."
    answer = LLMFunctionCallResponse(response=response, values=[], metadata={"reason": reason})
    answer.metadata["selected_functions"] = [each["function"]["name"] for each in calls]
    for each in calls:
        tool = known.get(each["function"]["name"])
        try:
            if tool is not None:
                answer.values.append(returned(tool, each["function"]["arguments"]))
        except Exception as err:  # noqa: BLE001 - byzer-llm's answer has the reason in it, whatever it is
            answer.metadata["reason"] = f"{type(err).__name__}: {err}"
    return answer


def _as_json(calls: Sequence[Mapping[str, Any]]) -> str:
    """Return calls as the JSON that byzer-llm's models write, with the arguments as objects."""
    found = [
        {
            "id": each.get("id"),
            "function": {**each["function"], "arguments": _loaded(each["function"].get("arguments") or "{}")},
        }
        for each in calls
    ]
    return json.dumps({"tool_calls": found}, ensure_ascii=False)


def _loaded(arguments: str) -> Any:
    """Return the object in arguments; their text where the model has not written JSON."""
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


# ---- decorators


def decorator(
    client: Any, instruction: str | None, model: str | None, *, from_argument: bool
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that lets a model compute what a function returns, as the type in its annotation.

    Args:
        client: a `ByzerLLM`.
        instruction: what to say in addition.
        model: the alias, by default that of the client.
        from_argument: whether the function's one argument is the prompt; otherwise, its docstring and arguments are.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def ask(*args: Any, **kwargs: Any) -> Any:
            bound = inspect.signature(function).bind(*args, **kwargs)
            bound.apply_defaults()
            kind = hints_of(function, "return").get("return", str)
            if from_argument:
                text = "\n\n".join(filter(None, [instruction, *map(str, bound.arguments.values())]))
                return client.chat_oai(text, model=model, response_class=kind)[0].value
            return client.chat_oai(
                instruction or "",
                model=model,
                impl_func=function,
                impl_func_params=bound.arguments,
                execute_impl_func=True,
                response_class=kind,
            )[0].value

        return ask

    return decorate


# ---- ranking


def ranked(model: Model, pairs: Any, options: Mapping[str, Any]) -> Any:
    """Return pairs of query and document with their scores, the best first; of a single pair, itself with its score.

    All are lists, as in byzer-llm, where they have been JSON.
    """
    single = len(pairs) == 2 and all(isinstance(text, str) for text in pairs)
    given = [pairs] if single else pairs
    scores: list[list[Any]] = []
    for query in dict.fromkeys(pair[0] for pair in given):
        documents = [document for asked, document in given if asked == query]
        result = model.rerank(query, documents, **options)
        scores += [[[query, documents[index]], score] for index, score in result.order]
    scores.sort(key=lambda item: item[1], reverse=True)
    return scores[0] if single else scores
