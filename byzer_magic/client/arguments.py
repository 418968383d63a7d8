"""What callers pass, as values that can be sent: notebooks pass numpy and pandas values, NaN, enums, objects.

A value whose meaning is plain is converted. For any other, CommandError names the argument and, in a sequence, the
index, so that nothing fails later in an encoder that knows neither.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import numbers
import os
import reprlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set as AbstractSet, ValuesView
from typing import Any

from byzer_magic.client.tools import has_functions
from byzer_magic.commands import headers
from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _

DEEPEST = 100
"""Levels of lists and objects in one option; a structure that contains itself has more."""
LONGEST = 80
"""Characters of a value in a message."""
_LEAST, _GREATEST = -(2**63), 2**64 - 1
"""The integers that MessagePack has: https://github.com/msgpack/msgpack/blob/master/spec.md#type-system."""
_MISSING = frozenset({"NAType", "NaTType"})
"""The types of pandas' missing values, which it may be slow to import."""
_PLAIN = frozenset({str, list, dict})
"""What nearly all values are: whether they are texts or missing need not be found out."""


# ---- texts


def text(value: Any, name: str) -> str:
    r"""Return an argument that is a text; numbers become their digits, and half a character becomes U+FFFD.

    Args:
        value: what the caller passes.
        name: the argument, for errors.

    Raises:
        CommandError: it is not a text.

    Example:
        >>> text("x \ud83d\ude00 \ud83d", "prompt"), text(7, "prompt")
        ('x 😀 \ufffd', '7')
    """
    value = _scalar(value)
    if isinstance(value, str):
        return whole(value)
    if is_missing(value):
        raise _missing(value, name)
    if _is_number(value):
        return str(value)
    raise CommandError(
        _("{name} is {value}, a {type}, not a string.", name=name, value=shown(value), type=type(value).__name__),
        _('Pass data.decode("utf-8").') if isinstance(value, bytes | bytearray) else _("Pass a string."),
    )


def _missing(value: Any, name: str) -> CommandError:
    return CommandError(
        _("{name} is a missing value: {value}.", name=name, value=shown(value)),
        _("Pass a string; drop the missing values of a DataFrame first: .dropna()"),
    )


def texts(value: Any, name: str = "texts") -> list[str]:
    """Return a sequence of texts as a list; a single text is not a sequence.

    Args:
        value: a list, tuple, generator, Series, Index, array of texts.
        name: the argument, for errors.

    Raises:
        CommandError: it is not a sequence of texts; the index of an item that is not a text is named.

    Example:
        >>> texts(("one", "two"))
        ['one', 'two']
    """
    found = _items(value, name)
    for index, item in enumerate(found):
        if type(item) is not str:
            item = _scalar(item)
            if not isinstance(item, str):
                raise CommandError(
                    _("Text {index} of {count} is {value}, a {type}.", index=index, count=len(found),
                      value=shown(item), type=type(item).__name__),
                    _("Pass texts only; for a pandas Series, call .fillna('') or .astype(str) first."),
                )  # fmt: skip
        found[index] = whole(item)
    return found


def is_one_text(value: Any) -> bool:
    """Return whether an argument is meant as one text and not as a sequence of texts."""
    if type(value) in _PLAIN:
        return type(value) is str
    value = _scalar(value)
    return isinstance(value, str | numbers.Number | decimal.Decimal | bytes | bytearray) or is_missing(value)


def whole(value: str) -> str:
    r"""Return a text that UTF-8 can have: two surrogates are joined, half a pair becomes U+FFFD.

    Prompts have them where a text was cut in the middle of an emoji, or comes from JSON or JavaScript.

    Example:
        >>> whole("\ud83d\ude00"), whole("cut \ud83d")
        ('😀', 'cut \ufffd')
    """
    value = str.__str__(value)  # a subclass, such as numpy's, is not what encoders expect
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value


def several(value: Any, name: str) -> list[Any]:
    """Return an argument that may be one thing or a sequence of things as a list; None is an empty one.

    An array of numbers is one thing: the pixels of an image.

    Args:
        value: what the caller passes.
        name: the argument, for errors.

    Raises:
        CommandError: an item is a missing value; its index is named.
    """
    if value is None:
        return []
    labels = getattr(getattr(value, "dtype", None), "kind", "") in ("O", "U", "T") and getattr(value, "ndim", 0) == 1
    if not (labels or isinstance(value, list | tuple | AbstractSet | Iterator)):
        value, named = [value], "{name}"
    else:
        value, named = list(value), "{name}[{index}]"
    for index, item in enumerate(value):
        if is_missing(item):
            raise _missing(item, named.format(name=name, index=index))
    return list(value)


# ---- numbers


def seconds(value: Any, name: str = "timeout") -> float | None:
    """Return a number of seconds; None, and infinity, are no limit.

    Raises:
        CommandError: it is not a number above 0.

    Example:
        >>> seconds("30"), seconds(float("inf"))
        (30.0, None)
    """
    if value is None:
        return None
    if getattr(getattr(value, "dtype", None), "kind", "") == "m" and not is_missing(value):
        value = value.astype("timedelta64[us]")  # its nanoseconds become a plain number
    value = value if is_missing(value) else _scalar(value)
    if isinstance(value, datetime.timedelta) and not is_missing(value):
        value = value.total_seconds()
    hint = _("Pass a number of seconds, such as 30 or 0.5; leave it out for no limit.")
    try:
        refused = is_missing(value) or isinstance(value, bool | bytes | bytearray)
        number = math.nan if refused else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if math.isnan(number):
        raise CommandError(
            _("{name} is {value}, which is not a number of seconds.", name=name, value=shown(value)), hint
        )
    if number <= 0:
        raise CommandError(_("{name} is {value}, which is not above 0.", name=name, value=shown(value)), hint)
    return None if math.isinf(number) else number


# ---- options


def options(given: Any) -> dict[str, Any]:
    """Return a request's fields as JSON has them; a field that is None is not given.

    Raises:
        CommandError: a value cannot be sent; its place is named, such as ``tools[0].name``.

    Example:
        >>> options({"stop": ("a", "b"), "seed": None})
        {'stop': ['a', 'b']}
    """
    if not isinstance(given, Mapping):
        message = _("{name} is {value}, which is not a mapping.", name="options", value=shown(given))
        raise CommandError(message, _("Pass a dict."))
    if has_functions(given.get("tools")):
        raise CommandError(
            _("Functions among the tools cannot be called in this request."),
            _("chat and achat call functions, without schema. For other requests, pass JSON schemas of the tools."),
        )
    found = {
        text(name, "options"): plain(value, whole(str(name))) for name, value in given.items() if value is not None
    }
    for name in ("extra_headers", "extra_body"):
        if not isinstance(found.get(name, {}), dict):
            message = _("{name} is {value}, which is not a mapping.", name=name, value=shown(found[name]))
            raise CommandError(message, _("Pass a dict."))
    if "extra_headers" in found:
        found["extra_headers"] = headers.checked_all(found["extra_headers"], "extra_headers", CommandError)
    return found


def plain(value: Any, name: str, depth: int = 0) -> Any:
    """Return a value as JSON has it: numpy and pandas values, tuples, sets, enums, dates and models are converted.

    Args:
        value: what the caller passes.
        name: its place, for errors.
        depth: how many lists and objects it is in.

    Raises:
        CommandError: it has no counterpart in JSON, as NaN.

    Example:
        >>> import decimal
        >>> plain({"weights": (decimal.Decimal("0.5"), 1)}, "extra_body")
        {'weights': [0.5, 1]}
    """
    if depth > DEEPEST:
        raise CommandError(_("{name} is nested too deeply.", name=name), _("Check whether it contains itself."))
    value = _scalar(value)
    if value is None or isinstance(value, bool):
        return value
    for kinds, convert in _CONVERTERS:
        if isinstance(value, kinds):
            return convert(value, name, depth)
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):  # a pydantic model
        return plain(dump(mode="json"), name, depth + 1)
    for method in ("tolist", "to_list"):  # an array, a Series, a tensor
        if callable(listed := getattr(value, method, None)) and not isinstance(value, type):
            return plain(listed(), name, depth + 1)
    raise _unsendable(value, name)


def _text(value: str, _name: str, _depth: int) -> str:
    return whole(value)


def _integer(value: Any, name: str, _depth: int) -> int:
    number = int(value)
    if not _LEAST <= number <= _GREATEST:
        raise CommandError(_("{name} is {value}, which does not fit in 64 bits.", name=name, value=shown(number)))
    return number


def _number(value: Any, name: str, _depth: int) -> float:
    try:
        number = float(value)
    except (ValueError, OverflowError):  # a signalling NaN, a fraction beyond all floats
        number = math.nan
    if not math.isfinite(number):
        raise CommandError(
            _("{name} is {value}, which is not a finite number.", name=name, value=shown(value)),
            _("Leave it out, or pass a finite number."),
        )
    return number


def _mapping(value: Mapping[Any, Any], name: str, depth: int) -> dict[str, Any]:
    return {_key(key, name): plain(item, f"{name}.{whole(str(key))}", depth + 1) for key, item in value.items()}


def _sequence(value: Iterable[Any], name: str, depth: int) -> list[Any]:
    found = sorted(value, key=str) if isinstance(value, AbstractSet) else value  # a set's own order changes
    return [plain(item, f"{name}[{index}]", depth + 1) for index, item in enumerate(found)]


def _date(value: Any, name: str, _depth: int) -> str:
    if is_missing(value):
        raise _unsendable(value, name)
    return str(value.isoformat())


_CONVERTERS: tuple[tuple[Any, Callable[[Any, str, int], Any]], ...] = (
    (str, _text),
    (enum.Enum, lambda value, name, depth: plain(value.value, name, depth + 1)),
    (numbers.Integral, _integer),
    (numbers.Real | decimal.Decimal, _number),
    (Mapping, _mapping),
    (bytes | bytearray | memoryview, lambda value, name, _depth: _refuse(value, name)),
    (Sequence | AbstractSet | ValuesView | Iterator, _sequence),
    (datetime.date | datetime.time, _date),
    (os.PathLike, lambda value, _name, _depth: whole(os.fsdecode(value))),
    (uuid.UUID, lambda value, _name, _depth: str(value)),
)


def _refuse(value: Any, name: str) -> Any:
    raise _unsendable(value, name)


def _key(key: Any, name: str) -> str:
    key = key.value if isinstance(key, enum.Enum) and not isinstance(key, str) else _scalar(key)
    if isinstance(key, str):
        return whole(key)
    if _is_number(key) and isinstance(key, numbers.Integral):
        return str(_integer(key, name, 0))  # logit_bias names tokens by their numbers
    raise CommandError(
        _("{name} has the key {key}, which is not a string.", name=name, key=shown(key)), _("Use strings as keys.")
    )


def _unsendable(value: Any, name: str) -> CommandError:
    return CommandError(
        _("{name} is a {type}, which cannot be sent.", name=name, type=type(value).__name__),
        _ELSEWHERE.get(name, _("Pass only JSON types: strings, numbers, booleans, lists and dicts.")),
    )


_ELSEWHERE = {
    "schema": _("Only chat and achat return values of a type: pass schema to one of them."),
    "tools": _("Pass a list, also with one function: tools=[FUNCTION]."),
}
"""What to do instead, by the argument that has the value in the wrong place."""


# ---- what both share


def is_missing(value: Any) -> bool:
    """Return whether a value stands for a missing cell: None, NaN, NaT, pandas' NA.

    Example:
        >>> is_missing(float("nan")), is_missing("")
        (True, False)
    """
    if type(value) in _PLAIN:
        return False
    if value is None or type(value).__name__ in _MISSING:
        return True
    if isinstance(value, decimal.Decimal):
        return value.is_nan()
    if getattr(getattr(value, "dtype", None), "kind", "") in ("m", "M") and getattr(value, "ndim", None) == 0:
        return bool(value != value)  # numpy's NaT
    return isinstance(value, numbers.Real) and bool(value != value)  # only NaN is not itself


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real | decimal.Decimal) and not issubclass(type(value), bool)


def shown(value: Any) -> str:
    """Return a value for a message, in a few words."""
    text_ = str(value) if isinstance(value, numbers.Number) else reprlib.repr(value)
    return whole(" ".join(text_.split()))[:LONGEST]


def _scalar(value: Any) -> Any:
    """Return a value of numpy, alone or as an array without dimensions, as Python's; any other as it is."""
    if isinstance(value, str | int | float) and not hasattr(value, "dtype"):
        return value
    if getattr(value, "ndim", None) != 0 or not hasattr(value, "dtype") or not callable(getattr(value, "item", None)):
        return value
    found = value.item()
    if type(found) is type(value):  # numpy's long double has no counterpart
        return float(found) if isinstance(found, numbers.Real) else found
    return found


def _items(value: Any, name: str) -> list[Any]:
    """Return the items of a sequence.

    Raises:
        CommandError: it is a single thing, or has columns.
    """
    if getattr(value, "ndim", 1) != 1:  # a DataFrame, which iterates over the names of its columns
        raise CommandError(
            _("{name} is a {type} with several columns.", name=name, type=type(value).__name__),
            _("Pass one column: frame['name']"),
        )
    if is_one_text(value) or isinstance(value, Mapping | AbstractSet) or not isinstance(value, Iterable):
        raise CommandError(
            _("{name} is {value}, a {type}, not a list of strings.", name=name, value=shown(value),
              type=type(value).__name__),
            _("A set has no order, but the result has: pass sorted(...).")
            if isinstance(value, AbstractSet)
            else _("Pass a list of strings."),
        )  # fmt: skip
    return list(value)
