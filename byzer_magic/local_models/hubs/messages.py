"""What a process that fetches gets, and what it reports: lines of JSON on its stdin and stdout."""

from __future__ import annotations

from typing import Any

import msgspec

from byzer_magic import i18n
from byzer_magic.types import Localizable, unpack_texts


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to fetch; the first line on stdin."""

    model: str
    """As typed."""
    folder: str
    """The cache."""
    gguf: bool = False
    only_gguf: bool = False
    engine: str = ""
    free: int = 0
    """As in `choice.Wish`."""


class Planned(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What would be fetched; the process then waits for a line on its stdin before it begins."""

    files: int
    size: int
    """Bytes of all files."""
    have: int
    """Bytes of them that are there already."""
    revision: str = ""
    """The commit, or the branch where the hub tells none."""
    why: Localizable = ""
    """Why these files, where others were possible."""

    def __post_init__(self) -> None:
        """Unpack a text that has crossed a pipe."""
        unpack_texts(self, "why")


class Got(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How much is there."""

    done: int
    """Bytes."""
    checking: bool = False
    """Whether all is there, and is compared with the hub's checksums."""


class Complete(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """All is there."""

    path: str
    """The file or folder to deploy."""


class Broken(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """It cannot be fetched."""

    error: dict[str, Any]
    """As `errors.to_wire` encodes it."""


Report = Planned | Got | Complete | Broken
GO = b"go\n"
"""Has the process begin."""

_reports: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


def write(message: Job | Report) -> bytes:
    """Encode a message as one line."""
    return msgspec.json.encode(message, enc_hook=i18n.encode_text) + b"\n"


def read(line: bytes) -> Report:
    """Decode a line of the process.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _reports.decode(line)
