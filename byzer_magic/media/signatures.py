"""How files begin: the formats of audio and images, and what is often mistaken for one."""

from __future__ import annotations

import re
import struct

MARKS = (
    (0, b"\x89PNG", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (0, b"\0\0\0\x0cJXL \r\n", "image/jxl"),
    (0, b"\0\0\0\x0cjP  \r\n", "image/jp2"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (0, b"\x1aE\xdf\xa3", "audio/webm"),
    (0, b".snd", "audio/x-au"),
    (0, b"#!AMR", "audio/amr"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "audio/x-ms-wma"),
    (0, b"caff\0\1", "audio/x-caf"),
    (0, b"riff\x2e\x91\xcf\x11", "audio/x-w64"),
    (0, b"wvpk", "audio/x-wavpack"),
    (0, b"MThd\0\0\0", "application/x-midi"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\3\4", "application/zip"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
)
"""Offset, bytes, media type."""
CONTAINERS = {
    b"RIFF": {b"WAVE": "audio/wav", b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"},
    b"RIFX": {b"WAVE": "audio/wav"},
    b"RF64": {b"WAVE": "audio/wav"},
    b"BW64": {b"WAVE": "audio/wav"},
    b"FORM": {b"AIFF": "audio/aiff", b"AIFC": "audio/aiff"},
}
"""Media type by the first four bytes and, after a length, the next four."""
BRANDS = {
    b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic", b"heim": "image/heic",
    b"heis": "image/heic", b"hevc": "image/heic", b"hevx": "image/heic", b"mif1": "image/heic", b"msf1": "image/heic",
}  # fmt: skip
"""Images among the files of the MP4 family, whose `ftyp` box names the brands."""

TEXT_BYTES = 512
"""As many are looked at to tell text from binary data."""
SCANNED_BYTES = 64 * 1024
"""As far the first frame of an MP3 is looked for: cut files begin anywhere, some with zeros."""
SURE_FRAMES = 3
"""As many frames one after the other are no accident."""
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_HTML = re.compile(r"<(!doctype\s+html|html|head|body|title|script|meta|div|p|h1)[\s>]", re.IGNORECASE)
_MP3_KBITS = {
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates by version (1 or 2) and layer; those of MPEG-2 are the same for both layers."""
_MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Sample rates by the version's bits."""
_AC3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)


def find(data: bytes, *, sure: bool = False) -> str | None:
    """Return the media type of a file by its bytes; None where they are unknown.

    Args:
        data: the file, or its first bytes.
        sure: require more than one frame of an MP3 without a tag: its mark is 11 bits long.

    Example:
        >>> find(b"fLaC..."), find(b"hello, world")
        ('audio/flac', 'text/plain')
    """
    inner = CONTAINERS.get(data[:4], {}).get(data[8:12])
    found = inner or next((mime for at, mark, mime in MARKS if data[at : at + len(mark)] == mark), None)
    if found or data[4:8] == b"ftyp":
        return found or _brand(data)
    if data[:3] == b"ID3":
        return _after_tag(data)
    return _frames(data, 0, 2, complete=sure) or _small(data) or _text(data) or _scanned(data)


def _brand(data: bytes) -> str:
    length = min(struct.unpack_from(">I", data)[0] or 16, 256)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, min(length, len(data)), 4))]
    images = [BRANDS[name] for name in brands if name in BRANDS] if data[8:12] in BRANDS else []
    return "image/avif" if "image/avif" in images else images[0] if images else "audio/mp4"


def _after_tag(data: bytes) -> str:
    """Return the type of a file with an ID3 tag, which AAC and FLAC may have, too."""
    if len(data) < 10:
        return "audio/mpeg"
    length = 0
    for byte in data[6:10]:
        length = length << 7 | byte & 0x7F
    rest = data[10 + length : 10 + length + SCANNED_BYTES].lstrip(b"\0")
    return "audio/flac" if rest[:4] == b"fLaC" else _frames(rest, 0, 2) or "audio/mpeg"


def _small(data: bytes) -> str | None:
    """Return the type of images whose marks are so short that their other fields must fit, too."""
    if data[:2] == b"BM" and len(data) >= 18 and data[6:10] == bytes(4):
        return "image/bmp" if struct.unpack_from("<I", data, 14)[0] in (12, 40, 52, 56, 64, 108, 124) else None
    if data[:4] == b"\0\0\1\0" and len(data) >= 22:
        count, reserved, planes, bits, size, at = struct.unpack_from("<4xH3xBHHII", data)
        fits = 0 < count < 64 and not reserved and planes < 2 and bits in (0, 1, 4, 8, 16, 24, 32)
        return "image/x-icon" if fits and size and at >= 6 + 16 * count else None
    return None


def _text(data: bytes) -> str | None:
    """Return the type of a text; None for binary data."""
    head = data[:TEXT_BYTES]
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") and len(head) > 3:
        text = head[: len(head) & ~1].decode("utf-16", "replace")
        if "\ufffd" in text or not text[:8].isprintable():
            return None
    elif not head or _CONTROL.search(head):
        return None
    else:
        try:
            text = head.decode("utf-8-sig")
        except UnicodeDecodeError as err:
            if err.start < len(head) - 3 or len(data) <= TEXT_BYTES:  # not a character that was cut
                return None
            text = head[: err.start].decode("utf-8-sig")
    return _kind_of_text(text.lstrip())


def _kind_of_text(text: str) -> str | None:
    if "<svg" in text and text[:1] == "<":
        return "image/svg+xml"
    if _HTML.match(text):
        return "text/html"
    if text[:5] == "<?xml":
        return "text/html" if "<html" in text else "application/xml"
    return "application/json" if re.match(r'\{\s*("|\})|\[\s*["{\[\]\d]', text) else "text/plain" if text else None


def _scanned(data: bytes) -> str | None:
    """Return the type of MP3 or AAC that begins in the middle of a frame."""
    at = data.find(b"\xff", 1, SCANNED_BYTES)
    while at >= 0:
        if found := _frames(data, at, SURE_FRAMES, complete=True):
            return found
        at = data.find(b"\xff", at + 1, SCANNED_BYTES)
    return None


def _frames(data: bytes, at: int, count: int, *, complete: bool = False) -> str | None:
    """Return the type of MP3, AAC or AC-3 frames that follow each other.

    Args:
        data: the file, or its first bytes.
        at: where the first of them begins.
        count: how many are looked at.
        complete: the data must have all of them.
    """
    mime = None
    for _number in range(count):
        if len(data) < at + 3:
            return None if complete else mime
        found = _mp3_frame(data, at) or _aac_frame(data, at) or _ac3_frame(data, at)
        if found is None or (mime and found[0] != mime):
            return None
        mime, length = found
        at += length
    return mime


def _mp3_frame(data: bytes, at: int) -> tuple[str, int] | None:
    """Return type and length of a frame of MPEG layer II or III (layer I is not in use)."""
    mark, one, two = data[at : at + 3]
    version, layer, rate = one >> 3 & 3, 4 - (one >> 1 & 3), two >> 2 & 3
    if mark != 0xFF or one < 0xE0 or version == 1 or layer not in (2, 3) or rate == 3 or not 0 < two >> 4 < 15:
        return None
    kbits = _MP3_KBITS[(1, layer) if version == 3 else (2, 3)][(two >> 4) - 1]
    factor = 144 if version == 3 or layer == 2 else 72
    return "audio/mpeg", factor * kbits * 1000 // _MP3_RATES[version][rate] + (two >> 1 & 1)


def _aac_frame(data: bytes, at: int) -> tuple[str, int] | None:
    """Return type and length of a frame of AAC in ADTS."""
    if data[at] != 0xFF or data[at + 1] & 0xF6 != 0xF0 or data[at + 2] >> 2 & 15 > 12:
        return None
    if len(data) < at + 6:
        return "audio/aac", len(data)
    length = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    return ("audio/aac", length) if length >= 7 else None


def _ac3_frame(data: bytes, at: int) -> tuple[str, int] | None:
    """Return type and length of a frame of AC-3 or E-AC-3 (ATSC A/52, 5.3 and E.1.2)."""
    if data[at : at + 2] != b"\x0bw" or len(data) < at + 6:
        return None
    rate, code, version = data[at + 4] >> 6, data[at + 4] & 63, data[at + 5] >> 3
    if 10 < version <= 16:  # E-AC-3
        length = 2 * (((data[at + 2] & 7) << 8 | data[at + 3]) + 1)
    elif version > 10 or rate == 3 or code // 2 >= len(_AC3_KBITS):
        return None
    else:
        kbits = _AC3_KBITS[code // 2]
        length = 2 * (2 * kbits, kbits * 96_000 // 44_100 + code % 2, 3 * kbits)[rate]
    following = data[at + length : at + length + 2]  # the mark is short, and a text may begin with it
    return ("audio/ac3", length) if following == b"\x0bw" or at + length == len(data) else None
