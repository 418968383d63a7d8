"""Requests for llama.cpp, in one form for both drivers: grammar or schema, and tools.

Where a driver, or the model's chat template, knows nothing of tools, they work all the same: the model first chooses,
held by a grammar, between the names of the tools and words of its own; then it writes the arguments, held by the
tool's schema, or answers as if there were no tools. So does a call that has to be: llama.cpp's server does not see to
it with all templates.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from byzer_magic.backends.engine.threads import Emit
from byzer_magic.backends.local.llama_cpp.driver import Driver
from byzer_magic.errors import BadRequest
from byzer_magic.i18n import lazy_gettext as _, listed

WORDS = "(message)"
"""Marks a text response among the tools' names; no tool can have this name."""
LONGEST_NAME = 128
"""Maximum tokens of a tool's name."""
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_FORMATS = "text, json_object or json_schema"


def constrained(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body with `schema` in the place of `response_format`.

    Raises:
        BadRequest: the format is unknown, has no schema, or is combined with a grammar.
    """
    found = dict(body)
    schema = found.pop("json_schema", None)
    asked = found.pop("response_format", None)
    if asked is not None:
        schema = _schema(asked)
    grammar = found.get("grammar")
    if grammar is not None and not isinstance(grammar, str):
        raise BadRequest(_("grammar is not a string."), _("Write it in GBNF."))
    if schema is None:
        return found
    if grammar:
        raise BadRequest(_("A request can have a grammar or a response_format, not both."), _("Leave one of them out."))
    if not isinstance(schema, Mapping):
        raise BadRequest(_("The JSON schema is not an object."), _('Example: {"type": "object", "properties": {...}}.'))
    return {**found, "schema": dict(schema)}


def _schema(asked: Any) -> Any:
    kind = asked.get("type") if isinstance(asked, Mapping) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return asked.get("schema") or {}
    if kind != "json_schema":
        raise BadRequest(
            _("response_format is {dumps}, which is not supported.", dumps=json.dumps(asked)),
            _("Its type must be one of: {formats}.", formats=_FORMATS),
        )
    inner = asked.get("json_schema")
    found = inner.get("schema") if isinstance(inner, Mapping) else asked.get("schema")
    if found is None:
        raise BadRequest(
            _("response_format has the type json_schema, but no schema."),
            _('Use {"type": "json_schema", "json_schema": {"name": ..., "schema": {...}}}.'),
        )
    return found


def answer(driver: Driver, body: dict[str, Any], emit: Emit, stopped: threading.Event) -> None:
    """Process a request with `driver`, with tools even if the driver does not support them.

    Raises:
        BadRequest: the request is invalid.
    """
    rest = {name: value for name, value in body.items() if name not in ("tools", "tool_choice")}
    tools = _tools(body.get("tools"))
    choice = _choice(body.get("tool_choice"), tools)
    rest["messages"] = [_flat(message) for message in rest["messages"]]
    if not driver.shows_tools:
        rest["messages"] = [_as_text(message) for message in rest["messages"]]
    if not tools or choice == "none":
        driver.generate(rest, emit, stopped)
    elif "grammar" in body or "schema" in body:
        raise BadRequest(_("Tools cannot be combined with a grammar or response_format."), _("Leave one of them out."))
    elif driver.finds_calls and choice == "auto":
        driver.generate({**rest, "tools": list(tools.values()), "tool_choice": choice}, emit, stopped)
    else:
        _ConstrainedAnswer(driver, rest, tools, emit, stopped).answer(choice)


def _tools(given: Any) -> dict[str, Any]:
    """Return the tools by name.

    Raises:
        BadRequest: they are not in OpenAI's format.
    """
    found = {}
    for tool in given or []:
        function = tool.get("function") if isinstance(tool, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BadRequest(
                _("A tool has an unsupported format: {dumps}", dumps=json.dumps(tool, default=str)[:200]),
                _('Use {"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}.'),
            )
        found[name] = tool
    return found


def _choice(given: Any, tools: Mapping[str, Any]) -> str:
    """Return `auto`, `none`, `required`, or the name of the tool to call.

    Raises:
        BadRequest: it is none of these.
    """
    if given is None:
        return "auto"
    function = given.get("function") if isinstance(given, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if name is not None and name in tools:
        return str(name)
    if given in ("auto", "none", "required") and (tools or given != "required"):
        return str(given)
    names = listed(tools) or _("the request has none")
    raise BadRequest(
        _("tool_choice is {dumps}, which is not supported.", dumps=json.dumps(given, default=str)),
        _("Use auto, none, required, or the name of a tool ({names}).", names=names),
    )


def _flat(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message whose parts are all text with one text: templates seldom know parts."""
    content = message.get("content")
    if not isinstance(content, list) or any(part.get("type") != "text" for part in content):
        return message
    return {**message, "content": _plain(content)}


def _as_text(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message with calls of tools, or the result of one, as plain text, for templates without a place."""
    if message.get("role") == "tool":
        return {"role": "user", "content": f"The result of the function is: {_plain(message.get('content'))}"}
    if not message.get("tool_calls"):
        return message
    calls = [call.get("function", {}) for call in message["tool_calls"]]
    lines = [f"{call.get('name')}({call.get('arguments', '')})" for call in calls]
    text = "\n".join([*filter(None, [_plain(message.get("content"))]), *lines])
    return {"role": "assistant", "content": text}


def _plain(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return content or ""


class _ConstrainedAnswer:
    """One answer with tools, by a driver that knows nothing of calls."""

    def __init__(
        self, driver: Driver, body: dict[str, Any], tools: dict[str, Any], emit: Emit, stopped: threading.Event
    ) -> None:
        self._driver = driver
        self._body = body
        self._tools = tools
        self._emit = emit
        self._stopped = stopped
        self._spent = (0, 0)

    def answer(self, choice: str) -> None:
        """Choose where there is a choice, then write the arguments, or an answer in words."""
        name = choice
        if choice in ("auto", "required"):
            options = [*self._tools, *([WORDS] if choice == "auto" else [])]
            name = self._chosen(options) if len(options) > 1 else options[0]
        if self._stopped.is_set():
            return
        if name == WORDS:
            self._driver.generate(self._body, self._add_up, self._stopped)
        elif name:
            self._call(name)

    def _chosen(self, options: Sequence[str]) -> str:
        """Return the option that the model names; "" when an error has been passed on instead."""
        text: list[str] = []

        def listen(item: dict[str, Any]) -> None:
            if "error" in item:
                self._emit(item)
            elif item.get("usage"):
                self._spent = (item["usage"]["prompt_tokens"], item["usage"]["completion_tokens"])
            text.extend(choice["delta"].get("content") or "" for choice in item.get("choices") or [])

        grammar = "root ::= " + " | ".join(json.dumps(option) for option in options)
        words = f"; with {WORDS} to answer without one" if WORDS in options else ""
        question = self._asked(f"Reply only with the name of the function that helps to answer{words}.")
        held = {"grammar": grammar, "temperature": 0, "max_tokens": LONGEST_NAME}
        self._driver.generate({"messages": question, **held}, listen, self._stopped)
        name = "".join(text).strip()
        return name if name in options else ""

    def _asked(self, task: str) -> list[dict[str, Any]]:
        """Return the conversation, with the tools and a task among its instructions."""
        functions = [tool["function"] for tool in self._tools.values()]
        shown = [
            f"- {function['name']}: {function.get('description', '')} Parameters: {json.dumps(_parameters(function))}"
            for function in functions
        ]
        text = "\n".join(["You can call these functions:", *shown, task])
        turns = list(self._body["messages"])
        if turns and turns[0].get("role") == "system":
            text = f"{_plain(turns.pop(0).get('content'))}\n\n{text}"
        return [{"role": "system", "content": text}, *turns]

    def _call(self, name: str) -> None:
        """Pass an answer that fits the tool's schema on as deltas of a call."""
        function = self._tools[name]["function"]
        head = {"id": f"call_{secrets.token_hex(12)}", "type": "function"}
        self._emit(_call_delta({**head, "function": {"name": name, "arguments": ""}}))

        def turned(item: dict[str, Any]) -> None:
            for choice in item.get("choices") or []:
                text = choice["delta"].get("content")
                choice["delta"] = {}
                if text:
                    self._emit(_call_delta({"function": {"arguments": text}}))
                if choice.get("finish_reason") == "stop":
                    choice["finish_reason"] = "tool_calls"
            self._add_up(item)

        question = self._asked(f"Call the function {name}: reply only with its arguments, as JSON.")
        self._driver.generate(
            {**self._body, "messages": question, "schema": _parameters(function)}, turned, self._stopped
        )

    def _add_up(self, item: dict[str, Any]) -> None:
        """Pass an item on; the tokens of the choice before count, too."""
        if item.get("usage"):
            prompt, completion = self._spent
            usage = item["usage"]
            item = {
                **item,
                "usage": {
                    "prompt_tokens": usage["prompt_tokens"] + prompt,
                    "completion_tokens": usage["completion_tokens"] + completion,
                },
            }
        self._emit(item)


def _parameters(function: Mapping[str, Any]) -> dict[str, Any]:
    return function.get("parameters") or {"type": "object", "properties": {}}


def _call_delta(call: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, **call}]}, "finish_reason": None}]}
