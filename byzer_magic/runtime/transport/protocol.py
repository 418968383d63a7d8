"""The protocol between a pool and its clients: msgpack frames in websocket messages.

One message is a list of frames, so that tokens of many streams share one write. Every frame carries the id of
its call; a client may have any number of calls open on its one connection. Only this package encodes and decodes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from byzer_magic import capabilities, i18n
from byzer_magic.stat import Delta, ModelStat, Sample
from byzer_magic.types import Dispatched, Event, Loading

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""A larger message closes the connection."""
PING_SECONDS = 300.0
"""Timeout of websocket pings between nodes: long, because an engine that loads may block its process for a while."""


class Call(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Client to pool: start `method` with `body`; `media` are the digests of the request's attachments."""

    id: int
    method: str
    body: msgspec.Raw
    media: list[str] = []


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Client to pool: cancel that call and free its slot."""

    id: int


class AttachmentChunk(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Client to pool: a chunk of an attachment, which later calls refer to by its digest; see `attachments`."""

    digest: str
    """SHA-256 of the attachment, in hex."""
    offset: int
    """Bytes before this chunk."""
    size: int
    """Bytes of the complete attachment."""
    data: bytes


class Item(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Pool to client: one item of the response."""

    id: int
    body: msgspec.Raw


class Done(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Pool to client: the response is complete."""

    id: int


class Fail(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Pool to client: the call failed; `error` is encoded by `errors.to_wire`."""

    id: int
    error: dict[str, Any]


class Endpoint(msgspec.Struct, frozen=True):
    """Where a pool or engine listens, and the token that authorizes a connection."""

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
    """Admit no more requests, wait up to `grace` seconds for those in flight, and end."""

    grace: float


class UndeployResult(msgspec.Struct, frozen=True):
    """The number of requests that were cancelled, and the processes that end with the deployment."""

    unfinished: int
    pids: list[int]


class ScaleRequest(msgspec.Struct, frozen=True):
    """Change the number of workers."""

    workers: int


class RestartRequest(msgspec.Struct, frozen=True):
    """Restart a worker (None: all, one by one) when its requests have finished, at the latest after `grace` seconds."""

    worker: int | None
    grace: float


class DrainRequest(msgspec.Struct, frozen=True):
    """Dispatch no more requests to a worker (None: to all)."""

    worker: int | None


class LogsRequest(msgspec.Struct, frozen=True):
    """Return the last `lines` lines of each process."""

    lines: int


class Opened(msgspec.Struct, frozen=True, tag=True):
    """An engine has loaded its model: its capabilities, and where its process runs."""

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
"""The type of each method's body and of its items."""


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
"""Raised for bytes that are not well-formed frames."""


def pack(value: Any) -> msgspec.Raw:
    """Encode a body or item."""
    return msgspec.Raw(_encoder.encode(value))


def write(frames: list[ToPool] | list[ToClient]) -> bytes:
    """Encode frames as one message."""
    return _encoder.encode(frames)


def read_calls(message: bytes) -> list[ToPool]:
    """Decode a client's message.

    Raises:
        ProtocolError: it is malformed.
    """
    return _to_pool.decode(message)


def read_answers(message: bytes) -> list[ToClient]:
    """Decode a pool's message.

    Raises:
        ProtocolError: it is malformed.
    """
    return _to_client.decode(message)


def body_of(call: Call) -> Any:
    """Decode the body of a call.

    Raises:
        ProtocolError: it is malformed.
        KeyError: the method is unknown.
    """
    return _bodies[call.method].decode(call.body)


def item_of(method: str, item: Item) -> Any:
    """Decode an item of a method's response.

    Raises:
        ProtocolError: it is malformed.
    """
    return _items[method].decode(item.body)
