"""How responses leave a connection of the endpoint."""

from __future__ import annotations

import asyncio

from byzer_magic.gateway.connections import _Joining


class Transport:
    """Notes what is sent together."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def writelines(self, parts: list[bytes]) -> None:
        self.sent.append(b"".join(parts))

    def close(self) -> None:
        self.sent.append(b"closed")


async def test_headers_leave_with_the_beginning_of_the_body() -> None:
    transport = Transport()
    response = _Joining(transport, asyncio.get_running_loop())
    for part in (b"head ", b"one ", b"two"):
        response.write(part)
    await asyncio.sleep(0)
    assert transport.sent == [b"head one ", b"two"]


async def test_headers_without_a_body_leave_by_themselves() -> None:
    transport = Transport()
    _Joining(transport, asyncio.get_running_loop()).write(b"head")
    await asyncio.sleep(0)
    assert transport.sent == [b"head"]


async def test_headers_leave_before_the_connection_is_closed() -> None:
    transport = Transport()
    response = _Joining(transport, asyncio.get_running_loop())
    response.write(b"head")
    response.close()
    await asyncio.sleep(0)
    assert transport.sent == [b"head", b"closed"]
