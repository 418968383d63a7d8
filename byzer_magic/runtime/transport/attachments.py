"""Pictures and sounds of more than 256 kB travel beside the requests that they belong to, and only once.

Each is sent in pieces, so that tokens of other calls get through between them, under the digest of its bytes. Both ends
of a connection keep what has travelled, in the same order and up to the same size: the client knows without asking what
the pool still has, and a conversation about a picture sends it with its first question only.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from byzer_magic.errors import CommandError
from byzer_magic.runtime.transport.protocol import AttachmentChunk, ProtocolError
from byzer_magic.types import ChatRequest, ImageRequest, Media, TranscribeRequest

ATTACHMENT_BYTES = 256 * 1024
"""Smaller media stay in their requests."""
CHUNK_BYTES = 1024 * 1024
CACHE_BYTES = 256 * 1024 * 1024
"""What one connection keeps; the media of one request may be more."""
MAX_REQUEST_BYTES = 1024 * 1024 * 1024
"""All media of one request together; a pool holds no more than this of what no call has named yet."""


class AttachmentCache:
    """What has travelled over one connection, the latest last; the same on both ends."""

    def __init__(self) -> None:
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._data: dict[str, bytes] = {}
        self._arriving = ("", 0, bytearray())
        """Digest, size and bytes so far of the one medium that is on its way: they come one after the other."""

    def __contains__(self, digest: str) -> bool:
        return digest in self._sizes

    def use(self, sizes: Mapping[str, int]) -> None:
        """Note that a request uses these; what is over the limit is forgotten, the oldest first."""
        for digest, size in sizes.items():
            self._sizes[digest] = size
            self._sizes.move_to_end(digest)
        while sum(self._sizes.values()) > CACHE_BYTES and len(self._sizes) > len(sizes):
            digest, _ = self._sizes.popitem(last=False)
            self._data.pop(digest, None)

    def arrive(self, piece: AttachmentChunk) -> None:
        """Take a piece; raises ProtocolError for one that does not fit."""
        if piece.offset == 0:  # what its client gave up half way is forgotten here
            self._arriving = (piece.digest, piece.size, bytearray())
        digest, size, so_far = self._arriving
        end = piece.offset + len(piece.data)
        if (piece.digest, piece.size, piece.offset) != (
            digest,
            size,
            len(so_far),
        ) or not end <= size <= MAX_REQUEST_BYTES:
            raise ProtocolError(f"a piece at {piece.offset}")
        so_far += piece.data
        if end == size:
            self._arriving = ("", 0, bytearray())
            self._forget_unused(size)
            self._data[digest] = bytes(so_far)

    def _forget_unused(self, size: int) -> None:
        """Make room for a medium among those that no call has named: the calls of the oldest were given up."""
        unused = [digest for digest in self._data if digest not in self._sizes]
        total = size + sum(len(self._data[digest]) for digest in unused)
        for digest in unused:
            if total <= MAX_REQUEST_BYTES:
                break
            total -= len(self._data.pop(digest))

    def take(self, digests: list[str]) -> dict[str, bytes]:
        """Return the bytes that a call names; raises ProtocolError when there are none."""
        if missing := [digest for digest in digests if digest not in self._data]:
            raise ProtocolError(f"no media {missing[0][:8]}")
        found = {digest: self._data[digest] for digest in digests}
        self.use({digest: len(data) for digest, data in found.items()})
        return found


def detach(body: Any) -> tuple[Any, dict[str, bytes]]:
    """Return a request without its large media, and these by digest.

    Raises:
        CommandError: they are too many for one request.
    """
    apart: dict[str, bytes] = {}

    def light(media: Media) -> Media:
        if len(media.data) < ATTACHMENT_BYTES:
            return media
        digest = hashlib.sha256(media.data).hexdigest()
        apart[digest] = media.data
        return msgspec.structs.replace(media, data=b"", digest=digest)

    lighter = _changed(body, light)
    if sum(map(len, apart.values())) > MAX_REQUEST_BYTES:
        raise CommandError("The pictures and sounds of the request have more than 1 GB.", "Send fewer at a time.")
    return lighter, apart


def attach(body: Any, blobs: Mapping[str, bytes]) -> Any:
    """Return a request with its large media back in their places; raises ProtocolError for one that is not there."""

    def whole(media: Media) -> Media:
        if not media.digest:
            return media
        if media.digest not in blobs:
            raise ProtocolError(f"no media {media.digest[:8]}")
        return msgspec.structs.replace(media, data=blobs[media.digest], digest="")

    return _changed(body, whole)


def chunks(digest: str, data: bytes) -> Iterator[AttachmentChunk]:
    """Yield a medium in pieces."""
    for offset in range(0, len(data), CHUNK_BYTES):
        yield AttachmentChunk(digest, offset, len(data), data[offset : offset + CHUNK_BYTES])


def _changed(body: Any, change: Any) -> Any:
    if isinstance(body, TranscribeRequest):
        return msgspec.structs.replace(body, audio=change(body.audio))
    if isinstance(body, ImageRequest) and body.images:
        return msgspec.structs.replace(body, images=[change(item) for item in body.images])
    if isinstance(body, ChatRequest) and any(isinstance(turn.content, list) for turn in body.messages):
        return msgspec.structs.replace(body, messages=[_turn(turn, change) for turn in body.messages])
    return body


def _turn(turn: Any, change: Any) -> Any:
    if not isinstance(turn.content, list):
        return turn
    parts = [change(part) if isinstance(part, Media) else part for part in turn.content]
    return msgspec.structs.replace(turn, content=parts)
