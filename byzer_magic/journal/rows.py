"""Entries as rows of the table, and back."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable
from typing import Any

import msgspec

from byzer_magic import i18n
from byzer_magic.journal.entry import COMPLETE, FAILED, INTERRUPTED, Entry, Origin, Piece
from byzer_magic.log import get_logger
from byzer_magic.types import Usage

log = get_logger("journal")

COLUMNS = (
    "key", "asked", "sample", "at", "alias", "provider", "title", "method", "request", "prompt", "answer", "pieces",
    "prompt_tokens", "completion_tokens", "cost", "currency", "usage", "ttft", "total", "queued", "worker", "status",
    "error", "face", "notebook", "cell", "request_id",
)  # fmt: skip
WITHOUT_PIECES = ", ".join(["id", *(f"x'' AS {name}" if name == "pieces" else name for name in COLUMNS)])
"""The columns where only what is shown of an entry is wanted: most of its bytes are its pieces."""
INSERT = f"INSERT INTO entries ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - names of ours
LEVEL = 1
"""Of compression: the pieces of a stream are much the same, so that the fastest one saves most already."""

_NUMBER, _NUMBER_OR_NONE = (int, float), (int, float, type(None))
_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("key", "asked", "alias", "provider", "title", "method", "request", "prompt", "answer"), str),
    **dict.fromkeys(("face", "notebook", "cell", "request_id"), str),
    **dict.fromkeys(("at", "total", "queued"), _NUMBER),
    "ttft": _NUMBER_OR_NONE, "sample": int, "worker": (int, type(None)),
}  # fmt: skip
"""What SQLite has in a column, which takes anything."""
STATUSES = (COMPLETE, INTERRUPTED, FAILED)
LATEST = 253_402_300_800.0
"""The year 10000, in seconds since 1970: a later time cannot be shown."""

_encoder = msgspec.msgpack.Encoder(enc_hook=i18n.encode_text)
_pieces = msgspec.msgpack.Decoder(list[Piece])
_usage = msgspec.msgpack.Decoder(Usage)


def of(entry: Entry) -> tuple[Any, ...]:
    """Return the values of an entry, in the order of `COLUMNS`."""
    usage = entry.usage
    values = (
        entry.key, entry.asked, entry.sample, entry.at, entry.alias, entry.provider, entry.title, entry.method,
        entry.request, entry.prompt, entry.answer,
        zlib.compress(_encoder.encode(entry.pieces), LEVEL),
        usage.prompt_tokens if usage else None, usage.completion_tokens if usage else None,
        usage.cost if usage else None, usage.currency if usage else "",
        _encoder.encode(usage) if usage else None, entry.ttft, entry.total, entry.queued, entry.worker, entry.status,
        msgspec.json.encode(entry.error, enc_hook=i18n.encode_text).decode() if entry.error else None,
        entry.origin.face, entry.origin.notebook, entry.origin.cell, entry.request_id,
    )  # fmt: skip
    return tuple(_stored(value) if isinstance(value, str) else value for value in values)


def _stored(text: str) -> str:
    """Return a text as SQLite takes it: half a surrogate pair, which Python knows, is not a character.

    Paths of notebooks have them where a file name is not UTF-8.
    """
    return text if text.isascii() else text.encode(errors="replace").decode()


class Damaged(ValueError):
    """A row is not one that was written."""


def readable(found: Iterable[sqlite3.Row], damaged: list[int] | None = None) -> list[Entry]:
    """Return the entries of rows, without those that are damaged.

    Args:
        found: the rows.
        damaged: takes the ids of the others.
    """
    entries = []
    for row in found:
        try:
            entries.append(entry(row))
        except Damaged as err:
            log.warning("entry %s is damaged: %s", row["id"], err)
            if damaged is not None:
                damaged.append(row["id"])
    return entries


def entry(row: sqlite3.Row) -> Entry:
    """Return the entry of a row.

    Raises:
        Damaged: it is not one that was written.
    """
    try:
        made = Entry(
            id=row["id"], key=row["key"], asked=row["asked"], sample=row["sample"], at=row["at"], alias=row["alias"],
            provider=row["provider"], title=row["title"], method=row["method"], request=row["request"],
            prompt=row["prompt"], answer=row["answer"],
            pieces=_pieces.decode(zlib.decompress(row["pieces"])) if row["pieces"] else [],
            usage=_usage.decode(row["usage"]) if row["usage"] else None, ttft=row["ttft"], total=row["total"],
            queued=row["queued"], worker=row["worker"], status=row["status"],
            error=msgspec.json.decode(row["error"], type=dict[str, Any]) if row["error"] else None,
            origin=Origin(row["face"], row["notebook"], row["cell"]), request_id=row["request_id"],
        )  # fmt: skip
    except (zlib.error, ValueError, TypeError) as err:
        raise Damaged(str(err)) from None
    for name, kinds in _KINDS.items():
        if not isinstance(row[name], kinds):
            raise Damaged(f"{name} is {row[name]!r}")
    if made.status not in STATUSES or not 0 <= made.at < LATEST:
        raise Damaged(f"status {made.status!r}, at {made.at!r}")
    return made
