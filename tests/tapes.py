"""Tapes for tests: entries as the journal writes them."""

from __future__ import annotations

import io
import math
import re
import struct
import wave
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from byzer_magic.journal import keys, tape
from byzer_magic.journal.entry import Entry
from byzer_magic.types import (
    AudioChunk,
    ChatChunk,
    ChatRequest,
    ImageItem,
    ImageRequest,
    Message,
    Request,
    SpeakRequest,
    Usage,
)  # fmt: skip


def recorded(alias: str, request: Request, answer: str = "", *, sample: int = 0, **more: Any) -> Entry:
    """Return the entry of a request; its answer is a chat's in one piece, unless `pieces` are given."""
    canonical = keys.canonical(request)
    given = {"key": "known", "method": "chat", "at": 1_700_000_000.0, "worker": 0, **more}
    if isinstance(request, ChatRequest):
        given = {"pieces": [(0.1, ChatChunk(answer, finish="stop"))], **given}
    return Entry(
        asked=keys.key_of(f"alias {alias}", canonical, sample), sample=sample, alias=alias, request=canonical.decode(),
        prompt=keys.prompt_of(request), answer=answer, **given,
    )  # fmt: skip


def written(folder: Path, entries: Iterable[Entry]) -> Path:
    """Write a tape; return its path."""
    path = folder / "tape.jsonl"
    path.write_bytes(b"".join(tape.lines(entries)))
    return path


NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "05_replay.jsonl"
"""The tape of the notebook about replaying; `python -m tests.tapes` writes it again."""
SECONDS_PER_WORD = 0.06


def _stream(text: str, *, cost: float) -> list[Any]:
    """Return an answer word by word, as a provider streams it."""
    words = re.findall(r"\S+\s*", text)
    pieces: list[Any] = [
        (round(0.4 + SECONDS_PER_WORD * place, 3), ChatChunk(word)) for place, word in enumerate(words)
    ]
    usage = Usage(12 + len(words), len(words), cost=cost, currency="USD")
    return [*pieces, (pieces[-1][0] + 0.01, ChatChunk(finish="stop", usage=usage))]


def _chat(alias: str, text: str, *prompt: Message, **options: Any) -> Entry:
    pieces = _stream(text, cost=0.00002 * len(text))
    request = ChatRequest(messages=list(prompt), options=options)
    times = {"ttft": pieces[0][0], "total": pieces[-1][0] + 0.02}
    return recorded(alias, request, text, pieces=pieces, usage=pieces[-1][1].usage, **times)


def _flag() -> bytes:
    """Return a PNG of three stripes."""
    rows = (b"\0" + b"\x00\x23\x95" * 40 + b"\xff\xff\xff" * 40 + b"\xed\x29\x39" * 40) * 80
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 120, 80, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _chime() -> bytes:
    """Return a WAV of two tones, at 8 kHz."""
    rate, file = 8000, io.BytesIO()
    tones = [(660, 0.25), (880, 0.4)]
    samples = [
        int(9000 * math.sin(2 * math.pi * pitch * at / rate) * (1 - at / (rate * length)))
        for pitch, length in tones
        for at in range(int(rate * length))
    ]
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return file.getvalue()


def of_notebook() -> list[Entry]:
    """Return what the cells of the notebook ask."""
    capital, name = "What is the capital of France? One sentence.", "I am Ada, and I am in Paris for one day."
    noted = "Hello Ada! One day is enough for the Louvre in the morning and a walk along the Seine."
    sound, flag = _chime(), _flag()
    return [
        _chat("assistant", "The capital of France is **Paris**, on the river Seine.", Message("user", capital)),
        _chat("second", "Paris.", Message("user", capital)),
        _chat("assistant", noted, Message("user", name)),
        _chat("assistant", "You are Ada, and you are in Paris.", Message("user", name), Message("assistant", noted),
              Message("user", "Who am I, and where?")),
        _chat("assistant", "Paris", Message("user", "The capital of France in one word"), temperature=0),
        recorded("speaker", SpeakRequest(text="Good morning from Paris!"), method="speak", total=0.6,
                 pieces=[(0.5, AudioChunk(sound[:5000], "audio/wav")), (0.6, AudioChunk(sound[5000:], "audio/wav"))]),
        recorded("painter", ImageRequest(prompt="The flag of France"), method="image", total=0.8,
                 pieces=[(0.8, ImageItem("image/png", flag))]),
    ]  # fmt: skip


if __name__ == "__main__":
    written(NOTEBOOK.parent, of_notebook()).rename(NOTEBOOK)
