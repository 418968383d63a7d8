"""Server-sent events, read from bytes: https://html.spec.whatwg.org/multipage/server-sent-events.html.

Not with httpx-sse or an SDK's reader: they split decoded text, which also breaks at U+2028 inside a JSON string.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator

from byzer_magic.backends.http import json_reader, pages
from byzer_magic.backends.http.errors import NoAnswer, Unreadable
from byzer_magic.i18n import lazy_gettext as _

DONE = b"[DONE]"
"""The data that OpenAI's API and many others send last."""
MAX_EVENT_BYTES = 32 * 1024 * 1024
"""Longest event or line; a response in one piece is one, too. Images and audio are the largest."""
MAX_COMMENTS = 1_000_000
"""Lines between two events that are none, such as those that keep a connection open."""
DRAIN_SECONDS = 0.2
"""How long the end of a body may come after the end of a response before its connection is given up."""

_PINGS = (b"ping", b"heartbeat", b"keepalive", b"keep-alive")
"""Events that only keep a connection open, whatever their data is."""
_BOM = b"\xef\xbb\xbf"
_STRAY_BYTES = 16 * 1024
"""How much is kept of a body that is no event stream: it may say why."""
_TRIES = 8
"""How often lines are tried as one JSON value before the rest of them has come."""


async def drain(rest: AsyncIterator[bytes], *exceptions: type[BaseException]) -> None:
    """Read what comes after the end of a response: only then can its connection serve the next request.

    Args:
        rest: what is left of the body.
        exceptions: what the transport may raise; ignored, since the response is complete.
    """
    with contextlib.suppress(TimeoutError, *exceptions):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _event in rest:
                pass


async def events(blocks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    r"""Yield the data of each server-sent event.

    JSON in one piece or in lines, which some servers send instead, is data, too. The data of an `event: error` comes
    as ``{"error": data}`` unless it already is such an object.

    Args:
        blocks: the body, in blocks of any size.

    Raises:
        NoAnswer: the body is a text; the error has it.
        Unreadable: the body is a web page, or an event is too long.

    Example:
        >>> async def body():
        ...     yield b'data: {"text": '
        ...     yield b'"Hi"}\n\ndata: [DONE]\n\n'
        >>> async def read():
        ...     return [data async for data in events(body())]
        >>> asyncio.run(read())
        [b'{"text": "Hi"}', b'[DONE]']
    """
    parser = Parser()
    async for block in blocks:
        for data in parser.feed(block):
            yield data
    for data in parser.end():
        yield data


def too_long() -> Unreadable:
    """Return the error for an event, or a line, that is longer than `MAX_EVENT_BYTES`."""
    return Unreadable(_("an event is longer than {size} MiB", size=MAX_EVENT_BYTES // 2**20))


class Parser:
    """Finds the events in a body that arrives in blocks; its time is linear in the size of the body."""

    def __init__(self) -> None:
        self._events: list[bytes] = []
        """What the current block has completed."""
        self._line: list[bytes] = []
        """The pieces of a line that has not ended yet."""
        self._unended = 0
        """Bytes of that line."""
        self._held = 0
        """Bytes of the event that has not ended yet."""
        self._after_cr = False
        self._begun = False
        self._data: list[bytes] = []
        self._failed = False
        """Whether the event is an `event: error`."""
        self._pinged = False
        """Whether it only keeps the connection open."""
        self._bare: list[bytes] = []
        """Lines of JSON that are not in an event."""
        self._tries = 0
        self._skipped = 0
        """Comments since the last event."""
        self._stray = b""
        self._found = False
        self._is_between = False
        """Whether the next block begins a line and an event."""
        self._is_over = False
        """Whether nothing more comes."""

    def feed(self, block: bytes) -> list[bytes]:
        """Return the data of the events that a block completes."""
        if self._is_between and b"\r" not in block and (simple := _simple(block)) is not None:
            self._found = self._found or any(simple)
            return simple
        self._events = []
        first, *lines = self._normalized(block).split(b"\n")
        if not lines:
            self._line.append(first)
            self._unended += len(first)
            self._is_between = False
            self._check_size()
            return self._events
        if self._line:
            first = b"".join([*self._line, first])
        rest = lines.pop()
        self._line = [rest] if rest else []
        self._unended = len(rest)
        for line in (first, *lines):
            if line:
                self._read(line)
            elif self._data:
                self._dispatch()
            else:
                self._failed = self._pinged = False
        self._check_size()
        self._is_between = not (
            self._line or self._data or self._bare or self._failed or self._pinged or self._after_cr
        )
        return self._events

    def end(self) -> list[bytes]:
        """Return the data of what the body ends with: providers do not always end their last event.

        Raises:
            NoAnswer: the body was a text.
            Unreadable: the body was a web page.
        """
        self._events, self._is_over = [], True
        self._read(b"".join(self._line))
        self._dispatch()
        self._dispatch_bare()
        if not self._found and (stray := self._stray.strip()):
            raise Unreadable(stray) if pages.is_page(stray.decode("utf-8", "replace")) else NoAnswer(stray)
        return self._events

    def _normalized(self, block: bytes) -> bytes:
        """Return a block with one kind of line end, and the first one without its byte order mark."""
        if not self._begun:
            block = self._without_mark(block)
        if self._after_cr and block:
            block = block.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in block:
            self._after_cr = block.endswith(b"\r")
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return block

    def _without_mark(self, block: bytes) -> bytes:
        """Return the beginning of the body without its byte order mark, or nothing until enough of it has come."""
        block = b"".join([*self._line, block])
        self._line = []
        if len(block) < len(_BOM) and _BOM.startswith(block):
            self._line = [block]
            return b""
        self._begun = True
        return block.removeprefix(_BOM)

    def _check_size(self) -> None:
        if self._unended + self._held > MAX_EVENT_BYTES:
            raise too_long()

    def _read(self, line: bytes) -> None:
        """Take a line that is not empty."""
        name, _colon, value = line.partition(b":")
        if name == b"data":
            if self._data or self._bare:
                self._separate()
            self._data.append(value[1:] if value[:1] == b" " else value)
            self._held += len(line)
        elif name == b"event":
            self._failed, self._pinged = value.strip() == b"error", value.strip() in _PINGS
        elif name not in (b"", b"id", b"retry"):  # a line without a name is a comment
            self._read_bare(line)
        else:
            self._skipped += 1
            if self._skipped > MAX_COMMENTS:
                raise Unreadable(_("its events have no content"))

    def _separate(self) -> None:
        """End what is complete before a further line of data: some servers leave out the lines between events."""
        self._dispatch_bare()
        if len(self._data) == 1 and _is_complete(self._data[0]):
            self._dispatch()

    def _dispatch(self) -> None:
        """End an event."""
        if self._data:
            data = (self._data[0] if len(self._data) == 1 else b"\n".join(self._data)).strip()
            if not self._pinged:
                self._events.append(_as_error(data) if self._failed else data)
            self._data, self._held, self._skipped, self._found = [], 0, 0, self._found or bool(data)
        self._failed = self._pinged = False

    def _read_bare(self, line: bytes) -> None:
        """Take a line that is not of an event stream: it may be JSON, or a line of it."""
        if not self._bare and not line.lstrip().startswith((b"{", b"[", b'"{')):
            if len(self._stray) < _STRAY_BYTES:
                self._stray += line[:_STRAY_BYTES] + b"\n"
            return
        if not self._bare:
            self._dispatch()
            self._tries = _TRIES
        self._bare.append(line)
        self._held += len(line)
        if self._tries and not self._is_over and line[:1] in b"{[}]" and line.rstrip()[-1:] in b"}]":
            self._tries -= 1
            if _is_complete(b"\n".join(self._bare), if_large=False):
                self._dispatch_bare()

    def _dispatch_bare(self) -> None:
        if self._bare:
            self._events.append(b"\n".join(self._bare).strip())
            self._bare, self._held, self._found = [], 0, True


def _simple(block: bytes) -> list[bytes] | None:
    """Return the data of a block that has nothing but complete events of one line each; None for any other.

    Nearly all blocks are like that, and reading them by lines costs three times as much.
    """
    found = []
    *events, rest = block.split(b"\n\n")
    for event in events:
        if event[:6] != b"data: " or b"\n" in event:
            return None
        found.append(event[6:].strip())
    return None if rest else found


def _is_complete(data: bytes, *, if_large: bool = True) -> bool:
    """Return whether data is JSON; where to find out would take long, `if_large` if it looks like it."""
    data = data.strip()
    if data == DONE:
        return True
    if data[:1] not in (b"{", b"[") or data[-1:] not in (b"}", b"]"):
        return False
    if len(data) > json_reader.LARGE_BYTES:
        return if_large
    try:
        json_reader.loads(data)
    except ValueError:
        return False
    return True


def _as_error(data: bytes) -> bytes:
    """Return the data of an `event: error` as an object with an `error`: its data may be JSON or a text."""
    if data.startswith(b'{"error"'):
        return data
    if data[:1] in (b"{", b"[") and _is_complete(data):
        return b'{"error":' + data + b"}"
    return json.dumps({"error": data.decode("utf-8", "replace") or "error"}).encode()
