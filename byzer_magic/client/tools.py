"""Python functions as tools: what a model is told about them, and how they are called."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

from byzer_magic.client.signatures import hints_of
from byzer_magic.client.typed import words_of
from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _

_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_NO_NAME = re.compile(r"[^\w-]+")
LONGEST_NAME = 64
"""Characters of a tool's name that providers take."""


class Tool:
    '''A Python function that a model may call.

    Its docstring is the description, its annotations are the types; `Annotated[int, "days from today"]` describes an
    argument, and `{"enum": [...]}` among them is put into its schema.

    Args:
        function: a function, a method, a `functools.partial` of one, or any other callable.
        hidden: arguments that the model does not know, by name; the function gets those that it takes with every call.

    Raises:
        CommandError: an argument is of a type that has no JSON schema, or that cannot be found.

    Example:
        >>> def weather(city: str, key: str) -> str:
        ...     """Return the weather of a city."""
        ...     return "sunny"
        >>> tool = Tool(weather, hidden={"key": "123"})
        >>> tool.call('{"city": "Paris"}'), list(tool.schema["function"]["parameters"]["properties"])
        ('sunny', ['city'])
    '''

    def __init__(self, function: Callable[..., Any], hidden: Mapping[str, Any] | None = None) -> None:
        self.function = function
        bare = _bare(function)
        name = getattr(bare, "__name__", type(bare).__name__)
        self.name: str = _NO_NAME.sub("_", name).strip("_")[:LONGEST_NAME]
        try:
            parameters = inspect.signature(function).parameters.values()
            any_name = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
            self._parameters = {each.name: each for each in parameters if each.kind not in _ANY_NUMBER}
            self._hidden = {
                name: value for name, value in (hidden or {}).items() if any_name or name in self._parameters
            }
            bound = _bound(function)
            told = [each for name, each in self._parameters.items() if name not in self._hidden and name not in bound]
            self._names = [each.name for each in told]
            self._arguments = _model(self.name, told, hints_of(bare))
            schema = self._arguments.model_json_schema()
        except CommandError:
            raise
        except Exception as err:  # pydantic's, and of inspect for some of C's functions
            raise CommandError(
                _("{name} cannot be a tool: {problem}", name=name, problem=words_of(err)),
                _("Annotate its arguments with types that have a JSON schema, such as str, int, list[str] or a model."),
            ) from err
        schema.pop("title", None)
        described = {"name": self.name, "description": inspect.getdoc(bare) or "", "parameters": schema}
        self.schema: dict[str, Any] = {"type": "function", "function": described}
        """The tool in OpenAI's form."""

    def call(self, arguments: str | Mapping[str, Any]) -> Any:
        """Call the function and return what it returns.

        Args:
            arguments: what the model wrote, JSON or the object in it.

        Raises:
            ValueError: the arguments are not those of the function.
        """
        given = json.loads(arguments or "{}") if isinstance(arguments, str) else arguments
        checked = self._arguments.model_validate(given)
        fields = zip(self._names, type(checked).model_fields, strict=True)
        values = {name: getattr(checked, field) for name, field in fields if field in checked.model_fields_set}
        values |= self._hidden
        positional = [
            values.pop(name, each.default)
            for name, each in self._parameters.items()
            if each.kind is inspect.Parameter.POSITIONAL_ONLY
        ]
        return self.function(*positional, **values)


def _bare(function: Any) -> Any:
    """Return the function inside of partials, which has the name and the docstring."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _bound(function: Any) -> set[str]:
    """Return the names of the arguments that partials have bound by name."""
    found: set[str] = set()
    while isinstance(function, functools.partial):
        found |= set(function.keywords)
        function = function.func
    return found


def _model(name: str, parameters: Sequence[inspect.Parameter], hints: Mapping[str, Any]) -> Any:
    """Return a pydantic model of arguments; its fields have names of their own, since pydantic refuses some."""
    import pydantic

    fields: dict[str, Any] = {}
    for number, each in enumerate(parameters):
        default = ... if each.default is inspect.Parameter.empty else each.default
        kind, told = _described(hints.get(each.name, Any))
        fields[f"argument_{number}"] = (kind, pydantic.Field(default, alias=each.name, **told))
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


def has_functions(tools: Any) -> bool:
    """Return whether there are Python functions among a request's tools."""
    return isinstance(tools, Sequence) and not isinstance(tools, str) and any(map(callable, tools))


def split(tools: Sequence[Any], hidden: Mapping[str, Any] | None = None) -> tuple[list[Tool], list[Any]]:
    """Return the Python functions among a request's tools, and the tools with their schemas in the functions' places.

    Args:
        tools: functions, and tools of OpenAI's form.
        hidden: as in `Tool`.

    Raises:
        CommandError: a function cannot be a tool, or two have the same name.
    """
    made = [Tool(each, hidden) if callable(each) else each for each in tools]
    found = [each for each in made if isinstance(each, Tool)]
    if len({tool.name for tool in found}) < len(found):
        raise CommandError(_("Two of the tools have the same name."), _("Give each function a name of its own."))
    return found, [each.schema if isinstance(each, Tool) else each for each in made]
