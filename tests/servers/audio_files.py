"""Real audio files without an encoder: tones as WAV, and silence as MP3 and Ogg Opus, longer for longer texts."""

from __future__ import annotations

import array
import io
import math
import struct
import wave

SECONDS_A_CHARACTER = 0.02
MP3_SECONDS = 0.024
OPUS_SECONDS = 0.02


def seconds(text: str) -> float:
    return 0.1 + SECONDS_A_CHARACTER * len(text)


def pcm(text: str, rate: int) -> bytes:
    """Return a tone of 440 Hz, 16-bit mono."""
    count = int(seconds(text) * rate)
    return struct.pack(f"<{count}h", *(int(8000 * math.sin(2 * math.pi * 440 * i / rate)) for i in range(count)))


def wav(text: str, rate: int) -> bytes:
    return wav_of(pcm(text, rate), rate)


def tone(duration: float = 1.0, rate: int = 8000) -> bytes:
    """Return that many seconds of a sine wave as a WAV file."""
    return wav_of(array.array("h", [int(9000 * math.sin(i / 5)) for i in range(int(duration * rate))]).tobytes(), rate)


def wav_of(samples: bytes, rate: int = 8000) -> bytes:
    """Return 16-bit mono samples as a WAV file."""
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples)
    return data.getvalue()


def mp3(text: str) -> bytes:
    """Return frames of MPEG-2 layer III, 24 kHz mono, 48 kbit/s (so 144 bytes each); all zeros are silence."""
    return (b"\xff\xf3\x64\xc4" + bytes(140)) * round(seconds(text) / MP3_SECONDS)


def opus(text: str) -> bytes:
    """Return an Ogg file (RFC 7845) of Opus packets that are silence."""
    count = round(seconds(text) / OPUS_SECONDS)
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 0, 48000, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 4) + b"test" + struct.pack("<I", 0)
    pages = [_page(0, 2, 0, head), _page(1, 0, 0, tags)]
    pages += [_page(i + 2, 4 if i == count - 1 else 0, 960 * (i + 1), b"\xf8\xff\xfe") for i in range(count)]
    return b"".join(pages)


def webm(text: str) -> bytes:
    """Return the header of a WebM file (https://www.rfc-editor.org/rfc/rfc8794), and no more than bytes behind it."""
    return b"\x1aE\xdf\xa3\x88B\x82\x84webm" + bytes(round(1000 * seconds(text)))


def _page(number: int, flags: int, position: int, packet: bytes) -> bytes:
    page = struct.pack("<4sBBqIIIBB", b"OggS", 0, flags, position, 7, number, 0, 1, len(packet)) + packet
    return page[:22] + struct.pack("<I", _crc(page)) + page[26:]


def _crc(data: bytes) -> int:
    found = 0
    for byte in data:
        found ^= byte << 24
        for _ in range(8):
            found = (found << 1 ^ 0x04C11DB7 if found & 0x80000000 else found << 1) & 0xFFFFFFFF
    return found
