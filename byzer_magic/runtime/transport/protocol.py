"""The protocol between a pool and its clients: msgpack frames in websocket messages.

One message is a list of frames, so that tokens of many streams share one write. Every frame carries the id of
its call; a client may have any number of calls open on its one connection. Only this package encodes and decodes.
A message is limited in bytes, so the body of a frame is, too: whoever writes a longer one fails that call alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec

from byzer_magic import capabilities, errors, i18n
from byzer_magic.stat import Delta, ModelStat, Sample
from byzer_magic.types import Dispatched, Event, Loading

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""A larger message closes the connection."""
MAX_BODY_BYTES = MAX_MESSAGE_BYTES - 64 * 1024
"""Largest body of a call or item: a message must also have room for the frame around it."""
MAX_ERROR_BYTES = 1024 * 1024
"""Largest encoded error; of a larger one, the beginning of its message is sent."""
BATCH_BYTES = 1024 * 1024
"""Frames that wait are sent in messages of about this size, so that other calls get through in between."""
FRAME_BYTES = 256
"""What a frame counts in addition to its body: roughly its size in memory."""
SHORT_ERROR = 2000
"""Characters of an error that cannot be sent as it is."""
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
    """Pool to client: the call failed; `errors.from_wire` reads the error, whatever it is."""

    id: int
    error: Any


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
ProtocolError = msgspec.MsgspecError
"""Raised for bytes that are not well-formed frames."""


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


def pack(value: Any) -> msgspec.Raw:
    """Encode a body or item."""
    return msgspec.Raw(_encoder.encode(value))


def write(frames: list[ToPool] | list[ToClient]) -> bytes:
    """Encode frames as one message."""
    return _encoder.encode(frames)


def size_of(frame: ToClient) -> int:
    """Return about how many bytes a frame takes."""
    if isinstance(frame, Item):
        return FRAME_BYTES + len(frame.body)
    if isinstance(frame, Fail):
        return FRAME_BYTES + len(frame.error)
    return FRAME_BYTES


def batches(frames: list[ToClient]) -> Iterator[tuple[list[ToClient], int]]:
    """Split frames, in order, into batches of about `BATCH_BYTES`, each with its size.

    A frame that is larger is a batch of its own.
    """
    batch: list[ToClient] = []
    size = 0
    for frame in frames:
        more = size_of(frame)
        if batch and size + more > BATCH_BYTES:
            yield batch, size
            batch, size = [], 0
        batch.append(frame)
        size += more
    if batch:
        yield batch, size


def failure(call_id: int, error: errors.ByzerError) -> Fail:
    """Return the frame for an error; one that cannot be encoded, or is too large, loses its details, then its end."""
    wire = errors.to_wire(error)
    short = {"code": error.code, "message": str(error)[:SHORT_ERROR].encode(errors="replace").decode()}
    for attempt in (wire, {**wire, "details": {}}):
        with contextlib.suppress(TypeError, ValueError, NotImplementedError, OverflowError, RecursionError):
            packed = pack(attempt)
            if len(packed) <= MAX_ERROR_BYTES:
                return Fail(call_id, packed)
    return Fail(call_id, pack(short))


def _decoded(decoder: msgspec.msgpack.Decoder[Any], data: bytes | msgspec.Raw) -> Any:
    try:
        return decoder.decode(data)
    except (UnicodeDecodeError, RecursionError) as err:  # the only ones that msgspec does not turn into its own
        raise ProtocolError(str(err)) from err


def read_calls(message: bytes) -> list[ToPool]:
    """Decode a client's message.

    Raises:
        ProtocolError: it is malformed.
    """
    calls: list[ToPool] = _decoded(_to_pool, message)
    return calls


def read_answers(message: bytes) -> list[ToClient]:
    """Decode a pool's message.

    Raises:
        ProtocolError: it is malformed.
    """
    answers: list[ToClient] = _decoded(_to_client, message)
    return answers


def body_of(call: Call) -> Any:
    """Decode the body of a call.

    Raises:
        ProtocolError: it is malformed, or the method is unknown.
    """
    if call.method not in _bodies:
        raise ProtocolError(f"no method {call.method[:100]!r}")
    return _decoded(_bodies[call.method], call.body)


def item_of(method: str, item: Item) -> Any:
    """Decode an item of a method's response.

    Raises:
        ProtocolError: it is malformed.
    """
    return _decoded(_items[method], item.body)
