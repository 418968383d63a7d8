"""The size of images in pixels, by their headers alone: a small file may stand for gigabytes of pixels.

What is only passed on, or shown by a browser, is not decoded here. Engines decode, and are given no image that is
larger than Pillow would open.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from byzer_magic.errors import BadRequest
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import Media, Message

MAX_PIXELS = 178_956_970
"""Twice `MAX_IMAGE_PIXELS` of Pillow, beyond which it raises `DecompressionBombError`: half a gigabyte of RGB."""
JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG segments that have its size."""
MAX_SEGMENTS = 1000
"""As many segments of a JPEG are looked at; cameras write a dozen."""


def dimensions(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG, GIF, BMP or JPEG; None for other formats and damaged files."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        return struct.unpack_from(">II", data, 16)
    if data[:4] == b"GIF8" and len(data) >= 10:
        return struct.unpack_from("<HH", data, 6)
    if data[:2] == b"BM" and len(data) >= 26 and data[14] >= 40:
        width, height = struct.unpack_from("<ii", data, 18)
        return abs(width), abs(height)  # negative: from top to bottom
    return _of_jpeg(data)


def _of_jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    for _number in range(MAX_SEGMENTS):
        if data[:2] != b"\xff\xd8" or at + 9 > len(data) or data[at] != 0xFF:
            break
        kind, length = struct.unpack_from(">BH", data, at + 1)
        if kind in JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + max(length, 2)
    return None


def check(turns: Iterable[Message]) -> None:
    """Check the images of a conversation before an engine decodes them.

    Raises:
        BadRequest: one is too large to be decoded.
    """
    for turn in turns:
        for part in turn.content if isinstance(turn.content, list) else ():
            size = dimensions(part.data) if isinstance(part, Media) and part.is_image else None
            if size and size[0] * size[1] > MAX_PIXELS:
                raise BadRequest(
                    _(
                        "The image has {width} x {height} pixels, more than the {limit} million that are decoded.",
                        width=size[0], height=size[1], limit=MAX_PIXELS // 10**6,
                    ),
                    _("Send a smaller image."),
                )  # fmt: skip
