"""Plain data as typed values where its meaning is plain: numbers in strings, an object in place of a list, and such."""

from __future__ import annotations

import functools
import math
from typing import Annotated, Any

import msgspec
from msgspec import inspect

from byzer_magic.types import Usage

_TEXTS = ("text", "content", "thinking", "reasoning", "summary", "value")
"""Where objects and lists have their text."""

LARGEST = 2**53
"""Integers that JSON keeps exactly; msgpack carries their sums, too, but none beyond 64 bits."""
MAX_MISFITS = 1000
"""How many invalid values a list may have; with more, it counts as a list of another type."""
Integer = Annotated[int, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
"""An integer of a provider that can be sent on."""
_THOUGHTS = ("thinking", "reasoning")
"""Types of parts that are not the answer."""


def text_in(value: Any) -> str:
    """Return the text in a string, a number, or an object or list of parts that has text; empty for anything else.

    Example:
        >>> text_in([{"type": "text", "text": "Hi "}, {"type": "text", "text": {"value": "there"}}, None])
        'Hi there'
        >>> text_in(42), text_in({"type": "image"})
        ('42', '')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list):
        return "".join(map(text_in, value))
    if isinstance(value, dict):
        return next((text for name in _TEXTS if (text := text_in(value.get(name)))), "")
    return ""


def parted(content: Any) -> tuple[str, str]:
    """Return the text and the reasoning of a content: models such as Magistral have both in one list of parts.

    Example:
        >>> parted([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "Hi"}])
        ('Hi', 'Hm')
    """
    parts = content if isinstance(content, list) else [content]
    thoughts = [part for part in parts if isinstance(part, dict) and part.get("type") in _THOUGHTS]
    return text_in([part for part in parts if not any(part is thought for thought in thoughts)]), text_in(thoughts)


def count_in(value: Any) -> int:
    """Return a number of tokens, however it is written; 0 for anything that is none.

    Example:
        >>> count_in(3), count_in("4"), count_in(2.5), count_in(None)
        (3, 4, 2, 0)
    """
    try:
        return max(0, integer_in(value))
    except Misfit:
        return 0


def usage_of(prompt: int, completion: int, cached: Any, stored: Any = None) -> Usage:
    """Return token counts, with those of a cache where the provider has left them out of its count of the prompt.

    Args:
        prompt: tokens of the prompt, as the provider counts them.
        completion: those of the answer.
        cached: those that came from a cache. With `stored` they are a part of the prompt; where they are more than
            it, they were left out.
        stored: those that went into a cache.

    Example:
        >>> usage_of(7_900, 5, 7_000).prompt_tokens, usage_of(100, 5, 7_000, 800).prompt_tokens
        (7900, 7900)
    """
    found = count_in(cached)
    separate = found + count_in(stored)
    return Usage(prompt + separate if separate > prompt else prompt, completion, cached_tokens=found)


class Misfit(ValueError):
    """A value cannot be read as the type that is needed."""


def integer_in(value: Any) -> int:
    """Return an integer, however it is written.

    Raises:
        Misfit: it is none, or so large that nobody can have meant it.

    Example:
        >>> integer_in(3), integer_in("4"), integer_in(2.5)
        (3, 4, 2)
    """
    number = int(_float(value))
    if abs(number) > LARGEST:
        raise Misfit("it is too large")
    return number


def converted(value: Any, kind: type) -> Any:
    """Return plain data as `kind`, field by field: what does not fit is converted where its meaning is plain.

    A field that cannot be converted gets its default.

    Raises:
        Misfit: a field without a default is missing or does not fit.

    Example:
        >>> import msgspec
        >>> class Row(msgspec.Struct):
        ...     index: int
        ...     name: str | None = None
        >>> converted([{"index": "3", "name": []}, None, {"index": 4.0, "name": 5}], list[Row])
        [Row(index=3, name=None), Row(index=4, name='5')]
    """
    return _fit(value, _type_of(kind))


@functools.cache
def _type_of(kind: type) -> inspect.Type:
    return inspect.type_info(kind)


def _fit(value: Any, kind: inspect.Type) -> Any:
    if isinstance(kind, inspect.UnionType):
        return _union(value, kind)
    if isinstance(kind, inspect.StructType):
        return _struct(value, kind)
    if isinstance(kind, inspect.ListType):
        return _list(value, kind)
    if isinstance(kind, inspect.DictType):
        return _dict(value)
    if isinstance(kind, inspect.AnyType):
        return value
    scalar = _SCALARS.get(type(kind))
    if scalar is None:
        raise Misfit(type(kind).__name__)
    return scalar(value)


def _union(value: Any, kind: inspect.UnionType) -> Any:
    names = {type(None): inspect.NoneType, str: inspect.StrType, list: inspect.ListType, dict: inspect.DictType}
    exact = names.get(type(value))
    ordered = sorted(kind.types, key=lambda each: type(each) is not exact)
    for each in ordered:
        try:
            return _fit(value, each)
        except Misfit:
            pass
    raise Misfit("union")


def _struct(value: Any, kind: inspect.StructType) -> Any:
    if value == []:  # an empty object, as PHP writes it
        value = {}
    if not isinstance(value, dict):
        raise Misfit("it is not an object")
    fields = {}
    for field in kind.fields:
        try:
            if field.encode_name in value:
                fields[field.name] = _fit(value[field.encode_name], field.type)
                continue
        except Misfit:
            pass
        if field.required:
            raise Misfit(f"it has no `{field.encode_name}`")
    return kind.cls(**fields)


def _list(value: Any, kind: inspect.ListType) -> list[Any]:
    if isinstance(value, dict) and not isinstance(kind.item_type, _NUMBERS):
        numbered = bool(value) and all(name.isdigit() for name in value)  # a list, as PHP may write it
        value = list(value.values()) if numbered else [value] if value else []
    if not isinstance(value, list):
        raise Misfit("it is not a list")
    found, misfits = [], 0
    for item in value:
        try:
            found.append(_fit(item, kind.item_type))
        except Misfit:
            misfits += 1
            if isinstance(kind.item_type, _NUMBERS) or misfits > MAX_MISFITS:
                raise  # a list of numbers without some of them is another list
    return found


_NUMBERS = (inspect.FloatType, inspect.IntType)


def _dict(value: Any) -> dict[str, Any]:
    if value == []:
        return {}
    if not isinstance(value, dict):
        raise Misfit("it is not an object")
    return value


def _str(value: Any) -> str:
    text = text_in(value)
    if not text and value != "":
        raise Misfit("it is not text")
    return text


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Misfit("it is not a number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise Misfit("it is not a number") from None
    if not math.isfinite(number):
        raise Misfit("it is not a number")
    return number


def _bool(value: Any) -> bool:
    known = {"true": True, "false": False, "1": True, "0": False}
    found = known.get(str(value).strip().lower())
    if found is None:
        raise Misfit("it is neither true nor false")
    return found


def _none(value: Any) -> None:
    if value is not None:
        raise Misfit("it is not null")


_SCALARS = {
    inspect.StrType: _str,
    inspect.IntType: integer_in,
    inspect.FloatType: _float,
    inspect.BoolType: _bool,
    inspect.NoneType: _none,
}
