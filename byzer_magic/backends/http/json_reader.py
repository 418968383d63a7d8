"""JSON of providers, read tolerantly: broken characters are repaired, and a field of another type refuses nothing.

msgspec reads what is as it should be (under 1 us an event). What it refuses is read again here, by the standard library
and field by field: slower, and rare.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from byzer_magic.backends.http.coercion import converted
from byzer_magic.log import get_logger

T = TypeVar("T")

LARGE_BYTES = 256 * 1024
"""Beyond that, a text is read in a thread, and only if it has not too many values."""
MAX_NAMES = 500_000
"""Objects, lists and names of fields in one text: each takes some 30 times its bytes in memory."""
MAX_COMMAS = 2_500_000
"""Other values in one text; 256 embeddings of 8,192 numbers have 2.1 million."""
MAX_DIGITS = 400
"""Longer integers are beyond any float."""
REPAIRED = {"repaired": "broken characters replaced by U+FFFD"}
"""What `extra` of a chunk has when its text had broken characters."""
REFUSED = (msgspec.MsgspecError, ValueError, RecursionError)
"""What msgspec or `loads` raise for JSON that they cannot read; a UnicodeDecodeError is a ValueError."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_VALUES = 64
"""Values that are read from one text."""
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
        check(data)
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
        value, repaired, _rest = _loaded(data)
        self._note(repaired=repaired)
        return value

    def several(self, data: bytes) -> list[Any]:
        """Return the values that follow each other in one text, each as `loads` does.

        Raises:
            ValueError: it does not begin with JSON.

        Example:
            >>> JsonReader(dict).several(b'{"a": 1}{"b": 2}')
            [{'a': 1}, {'b': 2}]
        """
        value, repaired, rest = _loaded(data)
        found = [value]
        while rest[:1] == "{" and len(found) < _VALUES and len(rest) <= LARGE_BYTES:
            value, again, rest = _loaded(rest)
            found.append(value)
            repaired = repaired or again
        self._note(repaired=repaired)
        return found

    def _note(self, *, repaired: bool) -> None:
        if repaired and not self.repaired:
            self.repaired = True
            _LOG.warning("A response had broken characters; they were replaced by U+FFFD.")

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


def plain(data: bytes) -> Any:
    """Return JSON as `loads` does, and an empty object for what cannot be read."""
    try:
        return loads(data)
    except ValueError:
        return {}


def check(data: bytes | str) -> None:
    """Check that a text has not more values than any response: to read them all would take too much memory and time.

    Raises:
        ValueError: it has.
    """
    if len(data) <= LARGE_BYTES:
        return
    raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
    if raw.count(b"{") + raw.count(b"[") + raw.count(b":") > MAX_NAMES or raw.count(b",") > MAX_COMMAS:
        raise ValueError("it has too many values")


async def aside(read: Callable[..., T], data: bytes, *given: Any) -> T:
    """Return `read(data, *given)`; from a thread where that may take long, so that other requests go on."""
    return read(data, *given) if len(data) <= LARGE_BYTES else await asyncio.to_thread(read, data, *given)


def first(text: str) -> tuple[Any, str]:
    """Return the first JSON value of a text as `loads` does, and what follows it.

    Raises:
        ValueError: it does not begin with JSON.

    Example:
        >>> first('[] is too short')
        ([], 'is too short')
    """
    value, _repaired, rest = _loaded(text)
    return value, rest


def _loaded(data: bytes | str) -> tuple[Any, bool, str]:
    """Return the value, whether characters were replaced, and what follows the value."""
    check(data)
    text, broken = (data, False) if isinstance(data, str) else _decoded(data)
    text = text.lstrip("\ufeff \t\r\n")
    try:
        value, end, text = _decoded_json(text)
        clean, changed = carried(value, odd=broken or "\\u" in text or _SURROGATE.search(text) is not None)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return clean, broken or changed, text[end:].strip()


_PLAIN = json.JSONDecoder(strict=False, parse_constant=lambda _: None)
_ANY_INTEGER = json.JSONDecoder(
    strict=False, parse_constant=lambda _: None, parse_int=lambda text: int(text) if len(text) <= MAX_DIGITS else None
)


def _decoded_json(text: str) -> tuple[Any, int, str]:
    r"""Return the value, its end, and the text it was read from: without escapes that JSON does not have (`\'`)."""
    try:
        return *_PLAIN.raw_decode(text), text
    except json.JSONDecodeError as err:
        if not err.msg.startswith("Invalid \\escape") or text.count("\\") > MAX_NAMES:
            raise
        text = _ESCAPE.sub(lambda found: found[0] if found[1] in '"\\/bfnrtu' else found[1], text)
    except ValueError:  # an integer of thousands of digits
        pass
    return *_ANY_INTEGER.raw_decode(text), text


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


def carried(value: Any, *, odd: bool = True) -> tuple[Any, bool]:
    """Return plain data as msgpack and JSON can carry it, and whether characters were replaced.

    Args:
        value: what an SDK or msgspec has read.
        odd: whether strings must be checked, too.

    Example:
        >>> carried({"a": 10**30, "b": float("nan")})
        ({'a': 1e+30, 'b': None}, False)
    """
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
