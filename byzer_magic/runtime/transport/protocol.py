"""The protocol between a pool and its clients: msgpack frames in websocket messages.

One message is a list of frames, so that tokens of many streams share one write. Every frame carries the id of
its call; a client may have any number of calls open on its one connection. Only this package encodes and decodes.
A message is limited in bytes, so the body of a frame is, too: whoever writes a longer one fails that call alone.
"""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from byzer_magic import capabilities, config, errors, i18n
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.routing.trace import Trace
from byzer_magic.runtime.transport import messages
from byzer_magic.stat import Delta, ModelStat, Sample
from byzer_magic.types import Dispatched, Event, Loading, Routed, Waiting

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""A larger message closes the connection."""
MAX_BODY_BYTES = MAX_MESSAGE_BYTES - 64 * 1024
"""Largest body of a call or item: a message must also have room for the frame around it."""
MAX_ERROR_BYTES = 1024 * 1024
"""Largest encoded error; of a larger one, the beginning of its message is sent."""
BATCH_BYTES = 1024 * 1024
"""Frames that wait are sent in messages of about this size, so that other calls get through in between."""
FRAME_BYTES = 256
"""What a frame counts in addition to its body: roughly its own size in memory."""
SHORT_ERROR = 2000
"""Characters of an error that cannot be sent as it is."""
PING_SECONDS = 300.0
"""Timeout of websocket pings between nodes: long, because an engine that loads may block its process for a while."""


class Call(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Client to pool: start `method` with `body`; `media` are the digests of the request's attachments."""

    id: int
    """Of this connection's calls."""
    method: str
    body: msgspec.Raw
    media: list[str] = []
    request_id: str = ""
    """That of the request, through all processes and logs (see `request_ids`); empty for a call that is no request."""


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Client to pool: cancel that call and free its slot."""

    id: int


class Hold(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Client to pool: send no more items of that call, or go on; other calls of the connection are not concerned."""

    id: int
    on: bool


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
    uid: int = -1
    """The user as whom it runs; -1: that of the client."""
    authority: str = ""
    """The certificate, as PEM, of whoever certifies its TCP listener; empty while it has none."""
    version: str = config.VERSION
    """Of byzer-magic in that process."""

    def __repr__(self) -> str:
        return f"Endpoint({self.path or f'{self.host}:{self.port}'})"


METHODS: dict[str, tuple[Any, Any]] = {
    **{
        capability.value: (row.request, row.chunk | Dispatched | Waiting | Routed)
        for capability, row in capabilities.TABLE.items()
    },
    "stat": (None, ModelStat),
    "watch": (None, Event),
    "logs": (messages.LogsRequest, str),
    "undeploy": (messages.UndeployRequest, messages.UndeployResult),
    "scale": (messages.ScaleRequest, Event),
    "drain": (messages.DrainRequest, int),
    "restart": (messages.RestartRequest, Event),
    "sleep": (messages.SleepRequest, bool),
    "update": (messages.DeployRequest, Event),
    "spec": (None, DeploySpec),
    "model": (None, messages.ModelIdentity),
    "price": (None, messages.ModelPrice),
    "follow": (None, Delta),
    "history": (None, Sample),
    "trace": (None, Trace),
    "keep": (messages.KeepRequest, None),
    "answers": (messages.AnswersRequest, messages.KeptAnswer),
    "attach": (messages.AttachRequest, messages.Piece),
    "cancel_answer": (messages.AnswersRequest, bool),
    "session": (messages.SessionRequest, messages.SessionState),
    "put_session": (messages.PutSession, messages.SessionState),
    "sessions": (None, messages.SessionInfo),
    "open": (None, Loading | messages.Opened),
    # of the controller
    "deploy": (messages.DeployRequest, Event),
    "abandon": (messages.AbandonRequest, None),
    "remove": (messages.RemoveRequest, int),
    "fleet": (None, messages.FleetView),
    "make_room": (messages.RoomRequest, Loading | bool),
    "aliases": (None, list[str]),
    "locate": (messages.AliasRequest, Endpoint),
    "resources": (None, messages.Resources),
    "prestart": (None, None),
    "serve": (messages.ServeRequest, list[messages.Served]),
    "serving": (None, list[messages.Served]),
    "stop_serving": (messages.StopRequest, int),
}
"""The type of each method's body and of its items."""
ProtocolError = msgspec.MsgspecError
"""Raised for bytes that are not well-formed frames."""
_NOT_MSGSPECS = (UnicodeDecodeError, RecursionError)
"""What msgspec raises for malformed bytes apart from its own errors."""


_encoder = msgspec.msgpack.Encoder(enc_hook=i18n.encode_text)
_to_pool = msgspec.msgpack.Decoder(list[Call | Cancel | Hold | AttachmentChunk])
_to_client = msgspec.msgpack.Decoder(list[Item | Done | Fail])
_bodies = {name: msgspec.msgpack.Decoder(takes) for name, (takes, _) in METHODS.items()}
_items = {name: msgspec.msgpack.Decoder(gives) for name, (_, gives) in METHODS.items()}

ToPool = Call | Cancel | Hold | AttachmentChunk
ToClient = Item | Done | Fail


def pack(value: Any) -> msgspec.Raw:
    """Encode a body or item."""
    return msgspec.Raw(_encoder.encode(value))


def write(frames: list[ToPool] | list[ToClient]) -> bytes:
    """Encode frames as one message."""
    return _encoder.encode(frames)


def pack_error(error: errors.ByzerError) -> msgspec.Raw:
    """Encode an error; one that cannot be encoded, or is too large, loses its details, then the end of its message."""
    wire = errors.to_wire(error)
    for attempt in (wire, {**wire, "details": {}}):
        with contextlib.suppress(TypeError, ValueError, NotImplementedError, OverflowError, RecursionError):
            if len(packed := pack(attempt)) <= MAX_ERROR_BYTES:
                return packed
    text = str(error)[:SHORT_ERROR].encode(errors="replace").decode()
    return pack({"code": error.code, "message": text})


def read_calls(message: bytes) -> list[ToPool]:
    """Decode a client's message.

    Raises:
        ProtocolError: it is malformed.
    """
    try:
        return _to_pool.decode(message)
    except _NOT_MSGSPECS as err:
        raise ProtocolError(str(err)) from err


def read_answers(message: bytes) -> list[ToClient]:
    """Decode a pool's message.

    Raises:
        ProtocolError: it is malformed.
    """
    try:
        return _to_client.decode(message)
    except _NOT_MSGSPECS as err:
        raise ProtocolError(str(err)) from err


def body_of(call: Call) -> Any:
    """Decode the body of a call.

    Raises:
        ProtocolError: it is malformed, or the method is unknown.
    """
    if call.method not in _bodies:
        raise ProtocolError(f"no method {call.method[:100]!r}")
    try:
        return _bodies[call.method].decode(call.body)
    except _NOT_MSGSPECS as err:
        raise ProtocolError(str(err)) from err


def item_of(method: str, item: Item) -> Any:
    """Decode an item of a method's response.

    Raises:
        ProtocolError: it is malformed.
    """
    try:
        return _items[method].decode(item.body)
    except _NOT_MSGSPECS as err:
        raise ProtocolError(str(err)) from err
