"""The columns of what is asked for: one for texts or embeddings, and of a type with fields one for each field."""

from __future__ import annotations

import dataclasses
import enum
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from byzer_magic.data import columns
from byzer_magic.data.columns import Column
from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _

Make = Callable[[], Column]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Which columns there are, and how a value becomes their cells."""

    names: tuple[str, ...]
    makers: tuple[Make, ...]
    """What makes each of them, empty."""
    split: Callable[[Any], tuple[Any, ...]]
    """Returns the cells of a value."""
    error: str
    """The name of the column of errors."""


def single(name: str, make: Make, convert: Callable[[Any], Any] = lambda value: value) -> Shape:
    """Return the shape of values that fill one column.

    Args:
        name: the column.
        make: makes it.
        convert: returns the cell of a value.
    """
    return Shape(names=(name,), makers=(make,), split=lambda value: (convert(value),), error=f"{name}_error")


def of_type(kind: Any, out: str | None) -> Shape:
    """Return the shape of values of a type that pydantic validates.

    Args:
        kind: a model, a dataclass, a TypedDict: a column for each field; any other type: one column.
        out: the column; where there are several, what their names begin with; None for the names of the fields.

    Raises:
        CommandError: a field would have the column of the errors.

    Example:
        >>> @dataclasses.dataclass
        ... class City:
        ...     name: str
        ...     people: int
        >>> of_type(City, None).names, of_type(City, "city").names, of_type(list[int], None).names
        (('name', 'people'), ('city_name', 'city_people'), ('value',))
        >>> of_type(City, None).split(City("Paris", 2))
        ('Paris', 2)
    """
    from pydantic import TypeAdapter

    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    fields = _fields(kind)
    if not fields:
        return single(out or "value", _maker(kind), lambda value: _plain(adapter.dump_python(value)))

    def split(value: Any) -> tuple[Any, ...]:
        dumped = adapter.dump_python(value, by_alias=False)
        return tuple(_plain(dumped.get(name)) for name in fields)

    prefix = f"{out}_" if out else ""
    names = tuple(prefix + name for name in fields) if len(fields) > 1 or not out else (out,)
    makers = tuple(map(_maker, fields.values()))
    error = f"{out or 'map'}_error"
    if error in names:
        raise CommandError(
            _("The column {name} would have both a field of {type} and the errors of rows.",
              name=error, type=getattr(kind, "__name__", str(kind))),
            _("Choose another name with out=, or leave it out."),
        )  # fmt: skip
    return Shape(names=names, makers=makers, split=split, error=error)


def _fields(kind: Any) -> dict[str, Any]:
    """Return the fields of a type with their types; none where it has none."""
    from typing_extensions import is_typeddict  # pydantic's own; that of typing knows no others

    if is_typeddict(kind):
        return get_type_hints(kind)
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    found = getattr(kind, "model_fields", None)
    if not isinstance(found, Mapping) or "root" in found:
        return {}
    return {name: field.annotation for name, field in found.items()}


def _maker(kind: Any) -> Make:
    """Return what makes the column for values of a type."""
    if get_origin(kind) is Annotated:
        return _maker(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        rest = [each for each in get_args(kind) if each is not type(None)]
        return _maker(rest[0]) if len(rest) == 1 else columns.Objects
    if names := _choices(kind):
        return lambda: columns.Categories(names)
    return _BY_TYPE.get(kind, columns.Objects)


def _choices(kind: Any) -> list[str]:
    """Return the texts that a type allows, where it is a choice of texts."""
    if get_origin(kind) is Literal:
        values = list(get_args(kind))
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        values = [member.value for member in kind]
    else:
        return []
    return values if all(isinstance(value, str) for value in values) else []


_BY_TYPE: dict[Any, Make] = {
    str: columns.Texts, int: columns.Integers, float: columns.Floats, bool: columns.Booleans,
}  # fmt: skip


def _plain(value: Any) -> Any:
    """Return a member of an enum as its value."""
    return value.value if isinstance(value, enum.Enum) else value
