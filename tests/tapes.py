"""Tapes for tests: entries as the journal writes them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from byzer_magic.journal import keys, tape
from byzer_magic.journal.entry import Entry
from byzer_magic.types import ChatChunk, ChatRequest, Request


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
