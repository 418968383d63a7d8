"""Media that travel apart: both ends of a connection always agree on what has travelled."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from byzer_magic.errors import CommandError
from byzer_magic.runtime.transport import attachments
from byzer_magic.runtime.transport.protocol import AttachmentChunk, ProtocolError
from byzer_magic.types import ChatRequest, ImageRequest, Media, Message, Request, TranscribeRequest
from tests.budgets import examples

SIZES = st.sampled_from(
    [1, 5, attachments.ATTACHMENT_BYTES - 1, attachments.ATTACHMENT_BYTES, attachments.CHUNK_BYTES + 3]
)
MEDIA = st.builds(lambda size, byte: Media("image/png", bytes([byte]) * size), SIZES, st.integers(0, 5))


def requests() -> st.SearchStrategy[Request]:
    part = MEDIA | st.just({"type": "text", "text": "x"})
    content = st.text(max_size=3) | st.lists(part, max_size=3)
    turns = st.lists(content.map(lambda found: Message("user", found)), max_size=2)
    return st.one_of(
        turns.map(lambda found: ChatRequest(messages=found)),
        MEDIA.map(lambda found: TranscribeRequest(audio=found)),
        st.lists(MEDIA, max_size=2).map(lambda found: ImageRequest(prompt="x", images=found)),
    )


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(requests(), max_size=6))
def test_attachments_arrive_complete_and_only_once(asked: list[Request]) -> None:
    client, server = attachments.AttachmentCache(), attachments.AttachmentCache()
    sent: set[str] = set()
    for request in asked:
        light, media = attachments.detach(request)
        assert len(msgspec.msgpack.encode(light)) < 8 * attachments.ATTACHMENT_BYTES
        for digest, data in media.items():
            if digest not in client:
                assert digest not in sent
                sent.add(digest)
                for piece in attachments.chunks(digest, data):
                    server.arrive(piece)
        client.use({digest: len(data) for digest, data in media.items()})
        assert attachments.attach(light, server.take(list(media))) == request


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True), max_size=20))
def test_both_caches_evict_the_same_attachments(uses: list[list[int]]) -> None:
    client, server = attachments.AttachmentCache(), attachments.AttachmentCache()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attachments, "CACHE_BYTES", 25)
        for numbers in uses:
            blobs = {hashlib.sha256(bytes([number])).hexdigest(): bytes([number]) * 10 for number in numbers}
            for digest, data in blobs.items():
                if digest not in client:
                    server.arrive(AttachmentChunk(digest, 0, len(data), data))
            client.use({digest: len(data) for digest, data in blobs.items()})
            assert server.take(list(blobs)) == blobs, "the client never omits what the server lacks"
            assert client._sizes == server._sizes


def test_cache_refuses_chunks_out_of_order() -> None:
    kept = attachments.AttachmentCache()
    with pytest.raises(ProtocolError):
        kept.arrive(AttachmentChunk("a", 5, 10, b"12345"))
    kept.arrive(AttachmentChunk("a", 0, 10, b"12345"))
    with pytest.raises(ProtocolError):
        kept.arrive(AttachmentChunk("a", 4, 10, b"12345"))
    with pytest.raises(ProtocolError):
        kept.arrive(AttachmentChunk("b", 0, 2**40, b"1"))
    for bad in (
        AttachmentChunk("b", 0, -1, b""),
        AttachmentChunk("b", 0, 2, b"123"),
        AttachmentChunk("b", -1, 2, b"1"),
        AttachmentChunk("b", 2**40, 2**41, b""),
    ):
        with pytest.raises(ProtocolError):
            kept.arrive(bad)
    kept.arrive(AttachmentChunk("c", 0, 4, b"12"))
    for bad in (
        AttachmentChunk("c", 2, 5, b"34"),
        AttachmentChunk("d", 2, 4, b"34"),
        AttachmentChunk("c", 2, 4, b"345"),
    ):
        with pytest.raises(ProtocolError):
            kept.arrive(bad)
    with pytest.raises(ProtocolError):
        kept.take(["nobody"])
    kept.arrive(AttachmentChunk("a", 0, 4, b"12"))  # started again, as after a cancellation
    kept.arrive(AttachmentChunk("a", 2, 4, b"34"))
    assert kept.take(["a"]) == {"a": b"1234"}


STEPS = st.tuples(
    st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
    st.none() | st.integers(0, 9),  # the client gives up after so many pieces, before it notes and sends the call
)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(STEPS, max_size=20))
def test_client_never_omits_an_attachment_that_the_server_lacks(steps: list[tuple[list[int], int | None]]) -> None:
    """Requests, some given up between any two frames, as `link` sends them (it notes and writes a call at once)."""
    client, server = attachments.AttachmentCache(), attachments.AttachmentCache()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attachments, "CACHE_BYTES", 25)
        patch.setattr(attachments, "CHUNK_BYTES", 4)
        for numbers, patience in steps:
            blobs = {str(number): bytes([number]) * 10 for number in numbers}
            missing = {digest: data for digest, data in blobs.items() if digest not in client}
            frames = [piece for digest, data in missing.items() for piece in attachments.chunks(digest, data)]
            for piece in frames[:patience]:
                server.arrive(piece)
            if patience is None or patience > len(frames):
                client.use({digest: len(data) for digest, data in blobs.items()})
                assert server.take(list(blobs)) == blobs
            assert client._sizes == server._sizes
            assert client._sizes.keys() <= server._data.keys()


def test_cache_drops_attachments_of_cancelled_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "MAX_REQUEST_BYTES", 100)
    kept = attachments.AttachmentCache()
    for number in range(50):
        kept.arrive(AttachmentChunk(f"half {number}", 0, 40, b"x" * 20))
        kept.arrive(AttachmentChunk(f"whole {number}", 0, 40, b"x" * 40))
    assert sum(map(len, kept._data.values())) <= 100
    assert len(kept._arriving[2]) <= 20
    assert kept.take(["whole 48", "whole 49"]), "the latest are there"


def test_detach_refuses_a_request_over_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "MAX_REQUEST_BYTES", attachments.ATTACHMENT_BYTES * 2 - 1)
    media = [Media("image/png", bytes([number]) * attachments.ATTACHMENT_BYTES) for number in range(2)]
    with pytest.raises(CommandError, match="exceed 1 GB"):
        attachments.detach(ImageRequest(prompt="x", images=media))
    assert len(attachments.detach(ImageRequest(prompt="x", images=[media[0]] * 2))[1]) == 1, "the same one travels once"
