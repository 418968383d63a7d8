"""Server-sent events from bytes."""

from __future__ import annotations

import pytest

from byzer_magic.backends.http.sse import events


async def read(*blocks: bytes) -> list[bytes]:
    async def source():  # type: ignore[no-untyped-def]
        for block in blocks:
            yield block

    return [data async for data in events(source())]


@pytest.mark.parametrize("size", range(1, 40))
async def test_events_do_not_depend_on_block_boundaries(size: int) -> None:
    stream = ': hi\r\nid: 3\r\ndata: {"a":"\u2028é"}\r\n\r\ndata:{"b":1}\n\nretry: 5\ndata: [DONE]\n\n'.encode()
    blocks = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert await read(*blocks) == ['{"a":"\u2028é"}'.encode(), b'{"b":1}', b"[DONE]"]


async def test_events_mark_errors_and_read_a_last_line_without_end() -> None:
    assert await read(b'event: error\ndata: {"message":"no"}\n\n') == [b'{"error":{"message":"no"}}']
    assert await read(b'event: error\ndata: {"error":1}\n\n') == [b'{"error":1}']
    assert await read(b"event: message\ndata: 1\n\ndata: 2") == [b"1", b"2"]
