"""Bodies of requests: bounded in size and time, JSON as typed structs with the fields that these do not know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec

from byzer_magic.backends.http import json_reader
from byzer_magic.gateway import parsing
from byzer_magic.gateway.problems import Problem, bad
from byzer_magic.i18n import gettext as _

T = TypeVar("T")

MAX_BYTES = 64 * 1024 * 1024
"""A larger body is refused: images and audio in base64 fit in."""
ALL_BYTES = 512 * 1024 * 1024
"""How much the bodies of all requests that run may have together."""
READ_SECONDS = 60.0
"""How long a client may send nothing in the middle of its body: large ones take their time on slow lines."""


MOST_TURNS = 10_000
"""Messages of one conversation, and items in one list of a request: each is checked and converted."""

Entries = Annotated[list[dict[str, Any]], msgspec.Meta(max_length=MOST_TURNS)]


class Gone(Exception):
    """The client has closed the connection."""


class Held:
    """Counts the bytes of the bodies that are being answered.

    Args:
        limit: the most that they may have together.
    """

    def __init__(self, limit: int = ALL_BYTES) -> None:
        self._limit = limit
        self._bytes = 0

    def take(self, count: int) -> None:
        """Count more bytes.

        Raises:
            Problem: there is no room.
        """
        if self._bytes + count > self._limit:
            raise Problem(
                503, _("The endpoint is processing too much at once."), kind="server_error", code="overloaded",
                anthropic="overloaded_error", retry_after=1.0, again=True, name="Overloaded",
            )  # fmt: skip
        self._bytes += count

    def give(self, count: int) -> None:
        """Count bytes no longer: their call has been answered."""
        self._bytes -= count


async def read(receive: Any, stated: bytes, take: Callable[[int], None]) -> bytes:
    """Return the body of a request.

    Args:
        receive: ASGI's.
        stated: its `Content-Length`, or nothing.
        take: counts its bytes (see `Held`).

    Raises:
        Problem: it is too large, or does not arrive.
        Gone: the client left.
    """
    if stated.isdigit() and int(stated[:20]) > MAX_BYTES:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(READ_SECONDS) as waiting:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                part = message.get("body", b"")
                size += len(part)
                if size > MAX_BYTES:
                    raise _too_large()
                take(len(part))
                parts.append(part)
                if not message.get("more_body", False):
                    return parts[0] if len(parts) == 1 else b"".join(parts)
                waiting.reschedule(asyncio.get_running_loop().time() + READ_SECONDS)
    except TimeoutError:
        message = _("Nothing more of the body of the request has arrived for {seconds:g} s.", seconds=READ_SECONDS)
        raise Problem(408, message, name="SlowBody") from None


def _too_large() -> Problem:
    message = _("The body of the request has more than {limit} MB.", limit=MAX_BYTES >> 20)
    return Problem(413, message, code="request_too_large", anthropic="request_too_large", name="TooLarge")


async def decoded(data: bytes) -> dict[str, Any]:
    """Return a body as `loads` does; a large one in a thread, so that others need not wait.

    Raises:
        Problem: it is not a JSON object, or has too many values.
    """
    return await json_reader.aside(loads, data)


def loads(data: bytes) -> dict[str, Any]:
    """Return a body that is a JSON object.

    Raises:
        Problem: it is not.

    Example:
        >>> loads(b'{"model": "m"}')
        {'model': 'm'}
    """
    try:
        json_reader.check(data)
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, ValueError) as err:
        raise bad(
            _("The body of the request is not JSON: {error}.", error=parsing.said(err)), code="invalid_json"
        ) from None
    if not isinstance(found, dict):
        raise bad(_("The body of the request is not a JSON object."), code="invalid_json")
    return found


def typed(found: dict[str, Any], kind: type[T]) -> T:
    """Return the fields of a body that a struct knows.

    Raises:
        Problem: one is missing, or has the wrong type; it is named.

    Example:
        >>> class Body(msgspec.Struct):
        ...     model: str
        >>> typed({"model": 7}, Body)
        Traceback (most recent call last):
        byzer_magic.gateway.problems.Problem: model: Expected `str`, got `int`
    """
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as err:
        message, _at, place = str(err).partition(" - at `$")
        param = place.rstrip("`").lstrip(".") or None
        if param is None and (name := message.partition("field `")[2].partition("`")[0]):  # a required one is missing
            param = name
            raise bad(_("The request needs {name}.", name=name), param, "missing_required_parameter") from None
        message = parsing.said(message)
        raise bad(f"{param}: {message}" if param else message, param, "invalid_type") from None


def rest(found: dict[str, Any], kind: type[msgspec.Struct], *more: str) -> dict[str, Any]:
    """Return the fields of a body that a struct does not know and that have a value.

    Args:
        found: the body.
        kind: the struct.
        more: further fields to leave out.

    Raises:
        Problem: it has a field that no client may set.
    """
    known = {*kind.__struct_encode_fields__, *more}
    given = {name: value for name, value in found.items() if value is not None and name not in known}
    return {name: value for name, value in given.items() if is_option(name, value)}


def is_option(name: str, value: Any) -> bool:
    """Return whether a field that a path does not know may be sent on; False for one that asks for nothing.

    Args:
        name: the field.
        value: what the client wants of it.

    Raises:
        Problem: it is one that no client may set.

    Example:
        >>> is_option("temperature", 0.5), is_option("n", 1)
        (True, False)
        >>> is_option("messages", [])
        Traceback (most recent call last):
        byzer_magic.gateway.problems.Problem: Unrecognized request argument supplied: messages
    """
    if name not in PRIVATE:
        return True
    if name == "stream" or (name in COUNTS and value == 1):
        return False
    raise bad(_("Unrecognized request argument supplied: {name}", name=name), name, "unknown_parameter")


COUNTS = ("n", "best_of")
"""Fields that ask for several answers; 1 is what each request gets."""
PRIVATE = frozenset(
    {
        "extra_headers", "extra_body", "extra_query", "messages", "prompt", "input", "query", "documents", "texts",
        "image", "images", "file", "stream", "stream_options", *COUNTS,
    }
)  # fmt: skip
"""Fields that we send ourselves, or that go past the checks of a backend: on paths that do not know one, clients have
no say there. It would replace what was checked, or ask for answers that nobody counts."""
