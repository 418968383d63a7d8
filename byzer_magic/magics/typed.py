"""`%%chat --schema` and `--tools`: values of a type, and functions of the notebook that the model calls."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from byzer_magic.actions.actions import options_in
from byzer_magic.actions.output import Output
from byzer_magic.client import structured
from byzer_magic.client.calling import Rounds
from byzer_magic.client.converse import Exchange, converse
from byzer_magic.client.manager import Manager
from byzer_magic.client.tools import Tool, split
from byzer_magic.commands.aliases import SEPARATOR
from byzer_magic.commands.spec import ChatSpec
from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.results import ChatResult
from byzer_magic.types import ChatRequest, Message

SHOWN = 200
"""Characters of a call, and of its result, that are shown."""


def check(item: ChatSpec, aliases: Sequence[str]) -> None:
    """Check that the options go together.

    Raises:
        CommandError: they do not.
    """
    if item.schema and item.tools:
        raise CommandError(_("--schema and --tools do not go together."), _("Leave one of them out."))
    if item.schema and item.df:
        raise CommandError(_("--schema and --df do not go together."), _("Leave one of them out."))
    for name, value in (("--schema", item.schema), ("--tools", item.tools)):
        if value and len(aliases) > 1:
            raise CommandError(_("{option} works with one model only.", option=name), _("Ask one model at a time."))


def value(
    manager: Manager, item: ChatSpec, messages: list[Message], variables: Mapping[str, Any]
) -> tuple[Any, ChatResult]:
    """Return a value of the type that --schema names, and the response that it was read from.

    Raises:
        CommandError: there is no such variable.
        MalformedResponse: neither the first response nor the second is such a value.
    """
    kind = _variable(str(item.schema), variables, "--schema")
    manager.reach(item.model)
    work = structured.ask_typed(manager, item.model, messages, kind, options=options_in(item), timeout=item.timeout)
    return manager.run(work)


def functions(names: str, variables: Mapping[str, Any]) -> list[Tool]:
    """Return the functions that --tools names.

    Raises:
        CommandError: one is not a function of the notebook.
    """
    found = [_variable(name.strip(), variables, "--tools") for name in SEPARATOR.split(names) if name.strip()]
    for function in found:
        if not callable(function):
            raise CommandError(
                _("--tools: {value} is not a function.", value=repr(function)[:SHOWN]),
                _("Name functions, such as a,b."),
            )
    return split(found)[0]


def answer(
    manager: Manager,
    out: Output,
    item: ChatSpec,
    messages: list[Message],
    tools: Sequence[Tool],
    ask: Callable[[Exchange], ChatResult],
) -> ChatResult:
    """Return the answer of a model that may call functions; each call is shown, and runs here.

    Args:
        manager: connects to the deployment.
        out: where calls are shown.
        item: the cell's options.
        messages: the conversation.
        tools: the functions.
        ask: sends a request, and shows its response while it arrives.

    Raises:
        RequestError: a response is incomplete, or the model does not stop calling.
    """
    options = {**options_in(item), "tools": [tool.schema for tool in tools]}
    first = converse(manager, item.model, messages, options=options, stream=not item.no_stream, timeout=item.timeout)
    talk = Rounds(cast("ChatRequest", first.request), tools)
    while True:
        result = ask(Exchange(manager, item.model, talk.request))
        if result.interrupted or not (calls := talk.calls(result)):
            return talk.answer(result)
        done = []
        for call in calls:
            made = call.done()
            out.say(f"{call.name}({_short(call.arguments)}) -> {_short(made['result'])}")
            done.append(made)
        talk.add(result, done)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}..."


def _variable(name: str, variables: Mapping[str, Any], option: str) -> Any:
    if name not in variables and not hasattr(builtins, name):
        raise CommandError(
            _("{option}: {name} is not defined in this notebook.", option=option, name=name),
            _("Define it first.")
            if name.isidentifier()
            else _("Give it a name in a cell, such as Answer = {name}, and pass the name.", name=name),
        )
    return variables[name] if name in variables else getattr(builtins, name)
