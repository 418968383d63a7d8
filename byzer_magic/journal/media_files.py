"""Audio and images of the journal: files beside it, named by the SHA-256 of their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from byzer_magic.files import private
from byzer_magic.journal.entry import Piece
from byzer_magic.types import AudioChunk, ImageItem

SMALLEST = 1024
"""Bytes from which they are kept in a file of their own."""
_REFERENCE = b"sha256:"


class MediaFiles:
    """The files of one journal.

    Args:
        folder: it is made when the first file is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes) -> str:
        """Store bytes, once; return their SHA-256.

        Raises:
            OSError: they cannot be written.
        """
        digest = hashlib.sha256(data).hexdigest()
        path = self._folder / digest
        if not _has(path, len(data)):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            private.replace_own(path, data)
        return digest

    def get(self, digest: str) -> bytes | None:
        """Return the bytes of a hash; None where they are not kept any more, or the file has others."""
        try:
            data = (self._folder / digest).read_bytes() if digest.isalnum() else b""
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == digest else None

    def moved_out(self, pieces: Iterable[Piece]) -> tuple[list[Piece], list[str]]:
        """Return pieces with the bytes of audio and images replaced by references to files, and the hashes.

        The chunks of speech are one file together, which plays.

        Raises:
            OSError: a file cannot be written.
        """
        pieces = list(pieces)
        speech = b"".join(item.data for _, item in pieces if isinstance(item, AudioChunk))
        whole = self.put(speech) if len(speech) >= SMALLEST else ""
        found: list[Piece] = []
        digests, start = [whole] if whole else [], 0
        for seconds, item in pieces:
            if isinstance(item, AudioChunk) and whole:
                end = start + len(item.data)
                found.append((seconds, msgspec.structs.replace(item, data=_reference(whole, start, end))))
                start = end
            elif isinstance(item, ImageItem) and len(item.data) >= SMALLEST:
                digests.append(self.put(item.data))
                moved = msgspec.structs.replace(item, data=_reference(digests[-1], 0, len(item.data)))
                found.append((seconds, moved))
            else:
                found.append((seconds, item))
        return found, digests

    def moved_in(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Yield pieces with the bytes that `moved_out` has put into files.

        Raises:
            FileNotFoundError: a file is missing.
        """
        known: dict[str, bytes] = {}
        for seconds, item in pieces:
            if not isinstance(item, AudioChunk | ImageItem) or not item.data.startswith(_REFERENCE):
                yield seconds, item
                continue
            _, digest, start, end = item.data.decode().split(":")
            if digest not in known:
                if (data := self.get(digest)) is None:
                    raise FileNotFoundError(digest)
                known[digest] = data
            yield seconds, msgspec.structs.replace(item, data=known[digest][int(start) : int(end)])

    def delete(self, digests: Iterable[str]) -> None:
        """Remove files, as far as they are there."""
        for digest in digests:
            (self._folder / digest).unlink(missing_ok=True)


def _has(path: Path, size: int) -> bool:
    """Return whether a file has as many bytes; after a power cut it may have none."""
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _reference(digest: str, start: int, end: int) -> bytes:
    return _REFERENCE + f"{digest}:{start}:{end}".encode()
