"""A-law and mu-law, the 8-bit samples of telephones: https://www.itu.int/rec/T-REC-G.711."""

from __future__ import annotations

from collections.abc import Sequence


def _alaw(code: int) -> int:
    code ^= 0x55
    segment, value = code >> 4 & 7, (code & 15) << 4
    value = value + 8 if not segment else (value + 0x108) << (segment - 1)
    return value if code & 0x80 else -value


def _mulaw(code: int) -> int:
    code ^= 0xFF
    value = (((code & 15) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return -value if code & 0x80 else value


ALAW = tuple(map(_alaw, range(256)))
"""The 16-bit sample of each code."""
MULAW = tuple(map(_mulaw, range(256)))
"""The 16-bit sample of each code."""


def pcm(data: bytes, table: Sequence[int]) -> bytes:
    """Return codes as little-endian 16-bit samples.

    Example:
        >>> pcm(bytes([0xFF, 0x80]), MULAW).hex()
        '00007c7d'
    """
    samples = bytearray(2 * len(data))
    for place in (0, 1):  # by `translate`: objects of all samples would take twenty times the memory
        samples[place::2] = data.translate(bytes(value >> 8 * place & 0xFF for value in table))
    return bytes(samples)
