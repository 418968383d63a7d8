"""Sounds and pictures as what Jupyter shows: pure functions from bytes to MIME bundles."""

from __future__ import annotations

import base64
import html
import struct
from collections.abc import Sequence

EMBED_BYTES = 16 * 1024 * 1024
"""Larger media are not put into the notebook file; the text says how to save them."""
SHOWN = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp")
"""Media types that JupyterLab shows as they are."""


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{-(-count // 1000)} kB"


def data_url(data: bytes, mime: str) -> str:
    """Return bytes as an address that holds them."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def measured(data: bytes) -> bytes:
    """Return a WAV file with its true length in its header, where that was sent before anyone knew it."""
    at = 12
    while data[:4] == b"RIFF" and data[8:12] == b"WAVE" and at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        if name == b"data":
            if at + 8 + length <= len(data):
                return data
            whole = bytearray(data)
            struct.pack_into("<I", whole, 4, len(data) - 8)
            struct.pack_into("<I", whole, at + 4, len(data) - at - 8)
            return bytes(whole)
        at += 8 + length + length % 2
    return data


def sound(data: bytes, mime: str, text: str) -> dict[str, str]:
    """Return a player; of nothing, the text alone."""
    if not data:
        return {"text/plain": text}
    if len(data) > EMBED_BYTES:
        return {"text/plain": f"{text}: too large to be shown here; keep it with .save(path)"}
    source = html.escape(data_url(data, mime))  # the type is what the provider says it is
    player = f'<audio controls preload="metadata" src="{source}" aria-label="{html.escape(text)}"></audio>'
    return {"text/html": player, "text/plain": text}


def pictures(items: Sequence[tuple[bytes, str, str]], prompt: str, text: str) -> dict[str, str]:
    """Return pictures (bytes, type and address of each): one as itself, several as a grid."""
    if sum(len(data) for data, _, _ in items) > EMBED_BYTES:
        return {"text/plain": f"{text}: too large to be shown here; keep it with .save(path)"}
    if not items:
        return {"text/plain": text}
    if len(items) == 1 and items[0][1] in SHOWN and items[0][0]:
        data, mime, _ = items[0]
        return {mime: base64.b64encode(data).decode(), "text/plain": text}
    cells = "".join(_picture(data_url(data, mime) if data else url, prompt) for data, mime, url in items)
    grid = "display:grid;grid-template-columns:repeat(auto-fill,minmax(240px,1fr));gap:8px"
    return {"text/html": f'<div style="{grid}">{cells}</div>', "text/plain": text}


def _picture(source: str, prompt: str) -> str:
    return f'<img style="max-width:100%" src="{html.escape(source)}" alt="{html.escape(prompt)}">'
