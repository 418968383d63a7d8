"""Bytes between a pool and its clients: msgpack frames inside websocket messages.

One message is a list of frames, so that tokens of many streams share one write. Every frame carries the id of
its call; a client may have any number of calls open on its one connection. Nothing outside this module and its
two users (`link`, `service`) knows bytes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from byzer_magic import capabilities, i18n
from byzer_magic.stat import Delta, ModelStat, Sample
from byzer_magic.types import Dispatched, Event, Loading

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""A larger message closes the connection that sent it."""
PING_SECONDS = 300.0
"""Between nodes, a side that is silent for so long is gone; an engine that loads holds its process up for a while."""


class Call(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Client to pool: start `method` with `body`; `media` are the digests of what has travelled beside it."""

    id: int
    method: str
    body: msgspec.Raw
    media: list[str] = []


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Client to pool: stop that call and free what it holds."""

    id: int


class AttachmentChunk(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Client to pool: a piece of a picture or sound that the calls after it may name; see `apart`."""

    digest: str
    offset: int
    size: int
    """Of the whole, in bytes."""
    data: bytes


class Item(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Pool to client: one item of the answer."""

    id: int
    body: msgspec.Raw


class Done(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Pool to client: the answer is complete."""

    id: int


class Fail(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Pool to client: the call failed; `error` is an error in its wire form."""

    id: int
    error: dict[str, Any]


class Endpoint(msgspec.Struct, frozen=True):
    """Where a pool or engine listens; `token` opens it."""

    path: str
    """Unix socket on the node, or ``""``."""
    host: str
    port: int
    token: str
    node: str
    pid: int

    def __repr__(self) -> str:
        return f"Endpoint({self.path or f'{self.host}:{self.port}'})"


class UndeployRequest(msgspec.Struct, frozen=True):
    """Stop taking requests, and wait up to `grace` seconds for those in flight."""

    grace: float


class UndeployResult(msgspec.Struct, frozen=True):
    """What was still running when the grace time ended, and the processes that end with the deployment."""

    unfinished: int
    pids: list[int]


class ScaleRequest(msgspec.Struct, frozen=True):
    """Have so many workers."""

    workers: int


class RestartRequest(msgspec.Struct, frozen=True):
    """Let a worker (None: all, one by one) begin anew, once its requests are done or `grace` seconds are over."""

    worker: int | None
    grace: float


class DrainRequest(msgspec.Struct, frozen=True):
    """Send a worker (None: all) no more requests."""

    worker: int | None


class LogsRequest(msgspec.Struct, frozen=True):
    """The last `lines` lines, please."""

    lines: int


class Opened(msgspec.Struct, frozen=True, tag=True):
    """An engine has its model: what it can do, and in which process of which node."""

    capabilities: list[str]
    node: str
    pid: int


METHODS: dict[str, tuple[Any, Any]] = {
    **{capability.value: (row.request, row.chunk | Dispatched) for capability, row in capabilities.TABLE.items()},
    "stat": (None, ModelStat),
    "watch": (None, Event),
    "logs": (LogsRequest, str),
    "undeploy": (UndeployRequest, UndeployResult),
    "scale": (ScaleRequest, Event),
    "drain": (DrainRequest, int),
    "restart": (RestartRequest, Event),
    "follow": (None, Delta),
    "history": (None, Sample),
    "open": (None, Loading | Opened),
}
"""What each method takes and what its items are."""


def _encode_text(value: Any) -> Any:
    """Encode a translatable text with its template and values, so that it can be shown in the receiver's language."""
    if isinstance(value, i18n.Text):
        return i18n.pack(value)
    raise NotImplementedError(type(value).__name__)


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_text)
_to_pool = msgspec.msgpack.Decoder(list[Call | Cancel | AttachmentChunk])
_to_client = msgspec.msgpack.Decoder(list[Item | Done | Fail])
_bodies = {name: msgspec.msgpack.Decoder(takes) for name, (takes, _) in METHODS.items()}
_items = {name: msgspec.msgpack.Decoder(gives) for name, (_, gives) in METHODS.items()}

ToPool = Call | Cancel | AttachmentChunk
ToClient = Item | Done | Fail
ProtocolError = msgspec.MsgspecError
"""Raised by the read functions for anything that is not a well-formed frame."""


def pack(value: Any) -> msgspec.Raw:
    """Encode a body or item."""
    return msgspec.Raw(_encoder.encode(value))


def write(frames: list[ToPool] | list[ToClient]) -> bytes:
    """Encode frames as one message."""
    return _encoder.encode(frames)


def read_calls(message: bytes) -> list[ToPool]:
    """Decode a client's message; raises ProtocolError."""
    return _to_pool.decode(message)


def read_answers(message: bytes) -> list[ToClient]:
    """Decode a pool's message; raises ProtocolError."""
    return _to_client.decode(message)


def body_of(call: Call) -> Any:
    """Decode what a call's method takes; raises ProtocolError, or KeyError for an unknown method."""
    return _bodies[call.method].decode(call.body)


def item_of(method: str, item: Item) -> Any:
    """Decode an item of a method's answer; raises ProtocolError."""
    return _items[method].decode(item.body)
