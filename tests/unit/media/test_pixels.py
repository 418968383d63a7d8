"""Images that stand for gigabytes of pixels are refused before an engine decodes them; reading their size is cheap."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from byzer_magic.errors import BadRequest
from byzer_magic.media import pixels
from byzer_magic.types import Media, Message


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def bomb(width: int, height: int) -> bytes:
    """Return the beginning of a PNG of that size."""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def asked(data: bytes) -> list[Message]:
    return [Message("user", "hello"), Message("user", ["what is it?", Media("image/png", data)])]


def test_decompression_bomb_is_refused() -> None:
    with pytest.raises(BadRequest, match="30000 x 30000 pixels, more than the 178 million"):
        pixels.check(asked(bomb(30_000, 30_000)))
    pixels.check(asked(bomb(10_000, 10_000)))
    pixels.check(asked(b"not an image"))


def test_limit_is_that_of_pillow() -> None:
    assert Image.MAX_IMAGE_PIXELS
    assert pixels.MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("form", ["png", "gif", "bmp", "jpeg"])
def test_dimensions_are_those_of_the_header(form: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (31, 17)).save(file, form)
    assert pixels.dimensions(file.getvalue()) == (31, 17)


def test_few_segments_of_a_jpeg_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, real = [], struct.unpack_from
    monkeypatch.setattr(pixels.struct, "unpack_from", lambda *given: looked.append(given[2]) or real(*given))
    assert pixels.dimensions(b"\xff\xd8" + b"\xff\xe0\x00\x02" * 1_000_000) is None
    assert 0 < len(looked) <= pixels.MAX_SEGMENTS
