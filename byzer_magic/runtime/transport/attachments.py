"""Attachments: images and audio of 256 kB or more are sent apart from their requests, once per connection.

Each is sent in chunks under the digest of its bytes, so that tokens of other calls get through in between. Both ends of
a connection cache attachments with the same size and order of eviction: the client knows what the pool still has, a
conversation about an image sends it with the first request only (decision 006).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.runtime.transport.protocol import AttachmentChunk, ProtocolError
from byzer_magic.types import ChatRequest, ImageRequest, Media, TranscribeRequest

ATTACHMENT_BYTES = 256 * 1024
"""Media of at least this size become attachments; smaller ones stay in their requests."""
CHUNK_BYTES = 1024 * 1024
CACHE_BYTES = 256 * 1024 * 1024
"""Size of the cache of one connection, in bytes; the attachments of a single request may exceed it."""
MAX_REQUEST_BYTES = 1024 * 1024 * 1024
"""Largest total of one request's attachments, and of those that a pool holds before a call refers to them."""
MAX_UNUSED = MAX_REQUEST_BYTES // ATTACHMENT_BYTES
"""How many attachments a pool holds before a call refers to them: as many as a request can have."""


class AttachmentCache:
    """The attachments sent over one connection, least recently used first; the same on both ends."""

    def __init__(self) -> None:
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._total = 0
        """Bytes of those in `_sizes`."""
        self._data: dict[str, bytes] = {}
        self._unused: OrderedDict[str, None] = OrderedDict()
        """Those that no call has referred to yet, oldest first."""
        self._unused_bytes = 0
        self._arriving = ("", 0, bytearray())
        """Digest, size and bytes so far of the attachment in transit: they are sent one after the other."""

    def __contains__(self, digest: str) -> bool:
        return digest in self._sizes

    def use(self, sizes: Mapping[str, int]) -> None:
        """Mark attachments as used by a request, and evict the least recently used beyond `CACHE_BYTES`.

        Args:
            sizes: bytes of each attachment, by digest.
        """
        for digest, size in sizes.items():
            self._total += size - self._sizes.get(digest, 0)
            self._sizes[digest] = size
            self._sizes.move_to_end(digest)
        while self._total > CACHE_BYTES and len(self._sizes) > len(sizes):
            digest, size = self._sizes.popitem(last=False)
            self._total -= size
            self._data.pop(digest, None)

    def arrive(self, chunk: AttachmentChunk) -> None:
        """Take a chunk of the attachment in transit.

        Raises:
            ProtocolError: it does not continue the chunk before it.
        """
        if chunk.offset == 0:  # a new attachment; one that its client cancelled half way is dropped
            self._arriving = (chunk.digest, chunk.size, bytearray())
        digest, size, so_far = self._arriving
        end = chunk.offset + len(chunk.data)
        if (chunk.digest, chunk.size, chunk.offset) != (
            digest,
            size,
            len(so_far),
        ) or not end <= size <= MAX_REQUEST_BYTES:
            raise ProtocolError(f"a chunk at {chunk.offset}")
        so_far += chunk.data
        if end == size:
            self._arriving = ("", 0, bytearray())
            self._store(digest, bytes(so_far))

    def _store(self, digest: str, data: bytes) -> None:
        """Store an attachment; make room for it among those whose calls were cancelled before they were sent."""
        if digest in self._sizes:  # it is here already
            return
        self._now_used(digest)  # sent again: it counts once
        self._unused[digest] = None
        self._unused_bytes += len(data)
        self._data[digest] = data
        while self._unused and (self._unused_bytes > MAX_REQUEST_BYTES or len(self._unused) > MAX_UNUSED):
            oldest = next(iter(self._unused))
            self._now_used(oldest)
            del self._data[oldest]

    def _now_used(self, digest: str) -> None:
        if digest in self._unused:
            del self._unused[digest]
            self._unused_bytes -= len(self._data[digest])

    def take(self, digests: list[str]) -> dict[str, bytes]:
        """Return the attachments of a call by digest.

        Raises:
            ProtocolError: one of them was not sent.
        """
        if missing := [digest for digest in digests if digest not in self._data]:
            raise ProtocolError(f"no attachment {missing[0][:8]}")
        found = {digest: self._data[digest] for digest in digests}
        for digest in found:
            self._now_used(digest)
        self.use({digest: len(data) for digest, data in found.items()})
        return found


def detach(body: Any) -> tuple[Any, dict[str, bytes]]:
    """Return a request without its large media, and these by digest.

    Raises:
        CommandError: together they exceed `MAX_REQUEST_BYTES`.
    """
    detached: dict[str, bytes] = {}

    def without_data(media: Media) -> Media:
        if len(media.data) < ATTACHMENT_BYTES:
            return media
        digest = hashlib.sha256(media.data).hexdigest()
        detached[digest] = media.data
        return msgspec.structs.replace(media, data=b"", digest=digest)

    lighter = _map_media(body, without_data)
    if sum(map(len, detached.values())) > MAX_REQUEST_BYTES:
        raise CommandError(
            _("The images and audio of the request exceed 1 GB in total."),
            _("Send fewer or smaller files per request."),
        )
    return lighter, detached


def attach(body: Any, blobs: Mapping[str, bytes]) -> Any:
    """Return a request with its attachments put back in place; the inverse of `detach`.

    Args:
        body: the request.
        blobs: its attachments by digest.

    Raises:
        ProtocolError: one of them is missing.
    """

    def with_data(media: Media) -> Media:
        if not media.digest:
            return media
        if media.digest not in blobs:
            raise ProtocolError(f"no attachment {media.digest[:8]}")
        return msgspec.structs.replace(media, data=blobs[media.digest], digest="")

    return _map_media(body, with_data)


def chunks(digest: str, data: bytes) -> Iterator[AttachmentChunk]:
    """Yield an attachment in chunks of `CHUNK_BYTES`."""
    for offset in range(0, len(data), CHUNK_BYTES):
        yield AttachmentChunk(digest, offset, len(data), data[offset : offset + CHUNK_BYTES])


def _map_media(body: Any, change: Any) -> Any:
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
