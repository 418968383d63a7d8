"""Responses of boto3: read up to a limit, checked before botocore parses them, and aborted from another thread.

botocore reads all of any body, makes objects of all of its JSON while it holds the interpreter's lock, and appends each
block of an event stream to what it has, which for small blocks takes time with their number squared.
"""

from __future__ import annotations

import http.client
import io
import math
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from byzer_magic.backends.http import json_reader
from byzer_magic.backends.http.received import BODY, ERROR, Limit, too_long

LARGEST_MESSAGE = 25 * 2**20
"""Bytes of one message of an event stream; botocore refuses what is longer by the first bytes of it."""
_LENGTH = struct.Struct(">I")
"""How a message begins: with its length. https://smithy.io/2.0/aws/amazon-eventstream.html"""


class ConnectionHandle:
    """The connection of the request that a thread serves, so that another thread can abort it.

    Args:
        limit: how much of the response is read.
    """

    def __init__(self, limit: Limit = BODY) -> None:
        self.limit = limit
        self.aborted = False
        self.connection: Any = None
        self._socket: Any = None
        self._lock = threading.Lock()

    def hold(self, connection: Any) -> None:
        """Keep the connection, and its socket, which http.client drops when the response will close it.

        Raises:
            ConnectionAbortedError: the request was aborted before it began.
        """
        with self._lock:
            self.connection, self._socket = connection, connection.sock or self._socket
            if self.aborted:
                raise ConnectionAbortedError

    def release(self) -> None:
        """Drop the connection before it returns to the pool, where another request would reuse it."""
        with self._lock:
            self.connection = self._socket = None

    def abort(self) -> None:
        """Shut the connection down, if it is still held; a thread that waits for its bytes wakes up."""
        with self._lock:
            self.aborted = True
            found = None if self.connection is None else self.connection.sock or self._socket
            if found is not None:
                with suppress(OSError):
                    found.shutdown(socket.SHUT_RDWR)


CURRENT = threading.local()
"""`CURRENT.handle` is that of the request that the thread serves."""


class _Counted(io.RawIOBase):
    """What comes from a socket, up to a limit."""

    def __init__(self, raw: io.RawIOBase, limit: Limit) -> None:
        self._raw = raw
        self._limit = limit
        self._count = 0
        self._until = math.inf

    def keep_to(self, limit: Limit) -> None:
        """Have another limit from now on."""
        self._limit, self._until = limit, time.monotonic() + (limit.seconds or math.inf)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        is_enough = self._count > self._limit.size or time.monotonic() > self._until
        if is_enough and self._limit.seconds is not None:
            return 0
        if is_enough:
            raise too_long(self._limit)
        count: int | None = self._raw.readinto(buffer)
        self._count += count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class Response(http.client.HTTPResponse):
    """A response that is read up to a limit: botocore itself reads all of any body, and decompresses none."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        handle = getattr(CURRENT, "handle", None)
        self._counted = _Counted(self.fp.detach(), handle.limit if handle else BODY)
        self.fp = io.BufferedReader(self._counted)

    def begin(self) -> None:
        """Read status and headers, and of an error no more than of other errors."""
        super().begin()
        if self.status >= 300:
            self._counted.keep_to(ERROR)


def bound(response_dict: dict[str, Any], operation_model: Any, **_more: Any) -> None:
    """Check a response before botocore parses it: a hook of its event `before-parse`.

    Raises:
        ValueError: it is JSON with more values than any response has.
    """
    body = response_dict.get("body")
    if isinstance(body, bytes):
        json_reader.check(body)
    elif operation_model.has_event_stream_output:
        response_dict["body"] = _Messages(body)


class _Messages:
    """The body of an event stream, in whole messages.

    Args:
        body: urllib3's response.
    """

    def __init__(self, body: Any) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        """Yield the messages, and what is none as it is.

        Raises:
            ValueError: one has more values than any.
        """
        waiting = bytearray()
        for block in self._body.stream():
            waiting += block
            start = 0
            while len(waiting) - start >= _LENGTH.size:
                length = _LENGTH.unpack_from(waiting, start)[0]
                if not _LENGTH.size <= length <= LARGEST_MESSAGE:
                    length = len(waiting) - start  # not an event stream: botocore raises the error
                if len(waiting) - start < length:
                    break
                message = bytes(waiting[start : start + length])
                json_reader.check(message)
                yield message
                start += length
            del waiting[:start]
        if waiting:
            yield bytes(waiting)

    def close(self) -> None:
        """Close the connection."""
        self._body.close()
