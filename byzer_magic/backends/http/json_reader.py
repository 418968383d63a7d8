"""JSON of providers, read tolerantly: broken characters are repaired, and a field of another type refuses nothing.

msgspec reads what is as it should be (under 1 us an event). What it refuses is read again here, by the standard library
and field by field: slower, and rare.
"""

from __future__ import annotations

import functools
import json
import math
import re
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import inspect

from byzer_magic.log import get_logger

T = TypeVar("T")

REPAIRED = {"repaired": "broken characters replaced by U+FFFD"}
"""What `extra` of a chunk has when its text had broken characters."""
REFUSED = (msgspec.MsgspecError, ValueError, RecursionError)
"""What msgspec or `loads` raise for JSON that they cannot read; a UnicodeDecodeError is a ValueError."""

_TEXTS = ("text", "content", "thinking", "reasoning", "summary", "value")
"""Where objects and lists have their text."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_LOG = get_logger("backends.http")


class JsonReader(Generic[T]):
    r"""Reads the JSON values of one response as `kind`, a msgspec.Struct.

    Example:
        >>> class Event(msgspec.Struct):
        ...     text: str = ""
        ...     index: int = 0
        >>> reader = JsonReader(Event)
        >>> reader.decode(b'{"text": 42, "index": null}'), reader.repaired
        (Event(text='42', index=0), False)
        >>> reader.decode(b'{"text": "Hi \xf0\x9f"}'), reader.repaired
        (Event(text='Hi �', index=0), True)
    """

    def __init__(self, kind: type[T]) -> None:
        self.repaired = False
        """Whether characters had to be replaced."""
        self._kind = kind
        self._fast = msgspec.json.Decoder(kind)

    def decode(self, data: bytes) -> T:
        """Return a value.

        Raises:
            ValueError: it is not JSON, or not an object with what the kind requires.
        """
        try:
            found: T = self._fast.decode(data)
        except REFUSED:
            return self.convert(self.loads(data))
        return found

    def loads(self, data: bytes) -> Any:
        """Return a value as plain data, and note whether characters had to be replaced.

        Raises:
            ValueError: it is not JSON.
        """
        value, repaired = _loaded(data)
        if repaired and not self.repaired:
            self.repaired = True
            _LOG.warning("A response had broken characters; they were replaced by U+FFFD.")
        return value

    def convert(self, value: Any) -> T:
        """Return plain data as the kind; fields that do not fit get their defaults.

        Raises:
            ValueError: it is not an object with what the kind requires.
        """
        found: T = converted(value, self._kind)
        return found


def loads(data: bytes | str) -> Any:
    r"""Return JSON as plain data that can be sent on: no lone surrogates, no NaN, no integers beyond 64 bits.

    A byte order mark, raw control characters in strings, and text after the value are ignored.

    Raises:
        ValueError: it is not JSON.

    Example:
        >>> loads('{"a": NaN, "b": "\\ud83d"} and more')
        {'a': None, 'b': '�'}
    """
    return _loaded(data)[0]


def _loaded(data: bytes | str) -> tuple[Any, bool]:
    """Return the value, and whether characters were replaced."""
    text, broken = (data, False) if isinstance(data, str) else _decoded(data)
    text = text.lstrip("\ufeff \t\r\n")
    try:
        value, _end = _PLAIN.raw_decode(text)
        clean, changed = _clean(value, odd=broken or "\\u" in text or _SURROGATE.search(text) is not None)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return clean, broken or changed


_PLAIN = json.JSONDecoder(strict=False, parse_constant=lambda _: None)


def _decoded(data: bytes) -> tuple[str, bool]:
    """Return bytes as text, and whether some were not UTF-8."""
    try:
        return data.decode(), False
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("utf-8", "surrogatepass"), False  # surrogates as UTF-8 (CESU-8) may be pairs
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace"), True


def _clean(value: Any, *, odd: bool) -> tuple[Any, bool]:
    """Return what msgpack and JSON can carry, and whether characters were replaced; `odd`: strings must be checked."""
    changed = False

    def walk(value: Any) -> Any:
        nonlocal changed
        if isinstance(value, str):
            if odd and _SURROGATE.search(value):
                value = repaired(value)
                changed = changed or "\ufffd" in value
            return value
        if isinstance(value, dict):
            return {walk(name): walk(item) for name, item in value.items()}
        if isinstance(value, list):
            return [walk(item) for item in value]
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            return walk(float(value)) if value.bit_length() < 1024 else None
        return value

    return walk(value), changed


def repaired(text: str) -> str:
    r"""Return text with surrogate pairs joined, and U+FFFD for lone surrogates, which no encoder accepts.

    Example:
        >>> repaired("\ud83d\ude00 \ud83d") == "\U0001f600 \ufffd"
        True
    """
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


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


def count_in(value: Any) -> int:
    """Return a number of tokens, however it is written; 0 for anything that is none.

    Example:
        >>> count_in(3), count_in("4"), count_in(2.5), count_in(None)
        (3, 4, 2, 0)
    """
    try:
        return max(0, int(_float(value)))
    except Misfit:
        return 0


# ---- values that are not of the expected type


class Misfit(ValueError):
    """A value cannot be read as the type that is needed."""


def converted(value: Any, kind: type) -> Any:
    """Return plain data as `kind`, field by field: what does not fit is converted where its meaning is plain.

    A field that cannot be converted gets its default.

    Raises:
        Misfit: a field without a default is missing or does not fit.

    Example:
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
    found = []
    for item in value:
        try:
            found.append(_fit(item, kind.item_type))
        except Misfit:
            if isinstance(kind.item_type, _NUMBERS):
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
    inspect.IntType: lambda value: int(_float(value)),
    inspect.FloatType: _float,
    inspect.BoolType: _bool,
    inspect.NoneType: _none,
}
