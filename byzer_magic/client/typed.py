"""Responses as values of a type: what is asked for, and how a response is read.

A type is anything that pydantic validates: a model, a dataclass, `list[Person]`, `int`, an enum. A provider that takes
a JSON schema gets it; every model is also told in words, since some take a schema and ignore it.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from byzer_magic.client import arguments
from byzer_magic.errors import CommandError
from byzer_magic.files import plain_yaml
from byzer_magic.i18n import lazy_gettext as _

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

VALUE = "value"
"""The field of the object around a value that is not an object itself: providers' schemas have an object at the top."""
LONGEST = 2_000
"""Characters of a validation error that the model is shown."""
BRACKETS = 100
"""Opening brackets at which JSON among other words is looked for."""
FENCE = "```"
_TYPES_OF_TYPES = ("types", "typing", "typing_extensions", "collections.abc")
"""The modules that `list[int]`, `int | None` and their like are of."""
_LANGUAGE = re.compile(r"[ \t]*(?:\w+[ \t]*)?")
_OPENING = re.compile(r"[\[{]")


class NotThatType(ValueError):
    """A text has no value of the type; the message says why, for the model."""


class Typed(Generic[T]):
    """A type that responses are read as.

    Raises:
        CommandError: pydantic has no JSON schema for the type.

    Example:
        >>> Typed(list[int]).read("Here they are: [1, 2]")
        [1, 2]
    """

    def __init__(self, kind: Any) -> None:
        from pydantic import TypeAdapter  # 150 ms, and only typed responses need it

        if inspect.isroutine(kind):  # pydantic would call it
            raise CommandError(
                _("{type} is a function, not a type.", type=getattr(kind, "__name__", str(kind))),
                _("Pass a type; functions that the model may call are passed as tools."),
            )
        self.kind = kind
        self.name = getattr(kind, "__name__", str(kind))
        try:
            self._adapter: TypeAdapter[T] = TypeAdapter(kind)
            schema = _closed(self._adapter.json_schema())
        except Exception as err:  # pydantic's are of several kinds
            message = _("{type} cannot be the type of a response: {problem}", type=self.name, problem=words_of(err))
            if not isinstance(kind, type) and type(kind).__module__ not in _TYPES_OF_TYPES:
                found = type(kind).__name__
                message = _(
                    "{value} is not a type, but a value of type {type}.", value=arguments.shown(kind), type=found
                )
            raise CommandError(
                message, _("Use a type that has a JSON schema: a pydantic model, a dataclass, list[str], int, an enum.")
            ) from err
        self._wrapped = schema.get("type") != "object" and "properties" not in schema and "$ref" not in schema
        self.schema = _wrapped(schema) if self._wrapped else schema

    @property
    def instruction(self) -> str:
        """Return what a model is told, whatever else its provider is sent."""
        schema = json.dumps(self.schema, ensure_ascii=False)
        return f"Respond with JSON that is valid against this JSON schema, and with nothing else:\n{schema}"

    @property
    def response_format(self) -> dict[str, Any]:
        """Return OpenAI's request field for this type, which backends translate."""
        name = re.sub(r"[^\w-]", "_", self.name)[:64]
        return {"type": "json_schema", "json_schema": {"name": name, "schema": self.schema}}

    def read(self, text: str) -> T:
        """Return the value that a response has.

        Args:
            text: JSON, also inside a block of code or among other words, and JSON5 in a simple form.

        Raises:
            NotThatType: it has none.
        """
        from pydantic import ValidationError

        problem = "The response has no JSON."
        for found, is_json in _json_values(text):
            if found == self.schema:  # repeated by the model; its own title is no value's
                continue
            for value in self._unwrapped(found):
                try:
                    return self._validated(value, is_json=is_json)
                except ValidationError as err:
                    problem = _reasons(err)
        for plain in self._plain(text):
            try:
                return self._adapter.validate_python(plain)
            except ValidationError:
                continue
        raise NotThatType(problem[:LONGEST])

    def correction(self, problem: str) -> str:
        """Return the message that asks again, after a response that cannot be read."""
        return f"That response is not valid: {problem}\n\n{self.instruction}"

    def _validated(self, value: Any, *, is_json: bool) -> T:
        """Return a value as pydantic validates JSON, which has no dates, tuples and sets, or texts in their place."""
        return self._adapter.validate_json(json.dumps(value)) if is_json else self._adapter.validate_python(value)

    def _unwrapped(self, found: Any) -> Iterator[Any]:
        if self._wrapped and isinstance(found, dict) and set(found) == {VALUE}:
            yield found[VALUE]
        yield found

    def _plain(self, text: str) -> Iterator[str]:
        """Yield the text itself where the type is a single value: `42`, `true`, `yes`."""
        if self._wrapped and len(words := text.strip().strip(".。").split("\n")) == 1:
            yield words[0].strip("`\"' ")


_BY_NAME = ("properties", "$defs")
"""Parts of a schema that are schemas by name."""
_PLAIN = ("default", "const", "enum", "examples")
"""Parts of a schema that are values."""


def _closed(schema: Any) -> Any:
    """Return a schema whose objects have no other fields than those named: Anthropic's API takes no other."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {}
    for name, part in schema.items():
        if name in _BY_NAME:
            found[name] = {inner: _closed(each) for inner, each in part.items()}
        else:
            found[name] = part if name in _PLAIN else _closed(part)
    return {"additionalProperties": False, **found} if "properties" in schema else found


def _wrapped(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object whose one field has this schema."""
    definitions = schema.pop("$defs", None)
    around: dict[str, Any] = {
        "type": "object",
        "properties": {VALUE: schema},
        "required": [VALUE],
        "additionalProperties": False,
    }
    return around | ({"$defs": definitions} if definitions else {})


def _json_values(text: str) -> Iterator[tuple[Any, bool]]:
    """Yield what can be read as JSON, and True; in a relaxed form only where nothing can, and False."""
    found = False
    for value in _strict_values(text):
        found = True
        yield value, True
    opening = _OPENING.search(text)
    end = max(text.rfind("}"), text.rfind("]"))
    if not found and opening and end > opening.start():
        for value in _relaxed(text[opening.start() : end + 1]):
            yield value, False


def _strict_values(text: str) -> Iterator[Any]:
    """Yield the JSON in a text: all of it, its blocks of code, what begins with a bracket; the last one first.

    Models correct themselves, and repeat the question's example before the answer.
    """
    blocks, _rest = code_blocks(text)
    for candidate in (text, *(code for _language, code in reversed(blocks))):
        yield from _loaded(candidate)
    decoder = json.JSONDecoder()
    values: list[Any] = []
    start = 0
    for _try in range(BRACKETS):
        if not (match := _OPENING.search(text, start)):
            break
        try:
            value, start = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            start = match.end()
        else:
            values.append(value)
    yield from reversed(values)


def code_blocks(text: str) -> tuple[list[tuple[str, str]], str]:
    r"""Return the blocks of code in a text, each with its language, and the text without them.

    Example:
        >>> code_blocks("Run this:\n```shell\nls -l\n```\nDone.")
        ([('shell', 'ls -l')], 'Run this:\nDone.')
    """
    blocks: list[tuple[str, str]] = []
    rest: list[str] = []
    inside: list[str] | None = None
    language = ""
    for line in text.split("\n"):
        bare = line.removesuffix("\r")
        if inside is None:
            before, _fence, name = bare.rpartition(FENCE)
            if bare.count(FENCE) % 2 and _LANGUAGE.fullmatch(name):  # else the line has code in itself
                inside, language = [], name.strip()
            rest += [before] if inside is not None and before.strip() else [line] if inside is None else []
        elif bare.lstrip(" \t").startswith(FENCE):
            blocks.append((language, "\n".join(inside)))
            inside = None
        else:
            inside.append(bare)
    return blocks, "\n".join(rest)


def _loaded(text: str) -> list[Any]:
    """Return the value of a text that is JSON, in a list."""
    try:
        return [json.loads(text)]
    except (ValueError, RecursionError):
        return []


def _relaxed(text: str) -> list[Any]:
    """Return, in a list, the value of what models write as JSON: single quotes, names without quotes, a last comma.

    YAML's flow style allows these; json5 would be one more package for the same. Its values are texts, which pydantic
    converts.
    """
    try:
        return [plain_yaml.load(text)]
    except plain_yaml.UnreadableYaml:
        return []


def words_of(err: Exception) -> str:
    """Return what an error says, for the model; pydantic's without its links and the input, each error in a line."""
    from pydantic import ValidationError

    if isinstance(err, ValidationError):
        return _reasons(err)
    return str(getattr(err, "message", err)).partition("\n")[0]


def _reasons(err: Any) -> str:
    """Return pydantic's errors, one line each, without its links and the input."""
    lines = [f"{'.'.join(map(str, each['loc'])) or 'the value'}: {each['msg']}" for each in err.errors()]
    return "\n".join(lines)
