"""Entries as JSON Lines, one to a line, with all media: a file that needs no other."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from byzer_magic import i18n
from byzer_magic.errors import JournalError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.journal.entry import COMPLETE, Entry

T = TypeVar("T")

_encoder = msgspec.json.Encoder(enc_hook=i18n.encode_text)
_decoder = msgspec.json.Decoder(Entry)


def lines(entries: Iterable[Entry]) -> Iterator[bytes]:
    r"""Yield entries as lines; the bytes of media are base64.

    Example:
        >>> entry = Entry(key="k", asked="a", at=0.0, alias="gpt4o", method="chat", answer="Hello!")
        >>> [_decoder.decode(line).answer for line in lines([entry])]
        ['Hello!']
    """
    for entry in entries:
        yield _encoder.encode(entry) + b"\n"


class Mark(msgspec.Struct, frozen=True):
    """What is needed of an entry to find it again; the rest of the line is not even decoded."""

    asked: str
    alias: str
    method: str
    provider: str = ""
    title: str = ""
    status: str = COMPLETE
    key: str = ""
    sample: int = 0
    start: int = 0
    """Where its line begins in the file."""


_marks = msgspec.json.Decoder(Mark)


def marks(path: Path) -> Iterator[Mark]:
    """Yield where the entries of a file are.

    Raises:
        JournalError: it cannot be read, or a line is not an entry.
    """
    return (msgspec.structs.replace(mark, start=start) for mark, start in _decoded(path, _marks))


def entry_at(path: Path, start: int) -> Entry:
    """Return the entry whose line begins at a place in a file.

    Raises:
        JournalError: it cannot be read, or there is no entry any more.
    """
    try:
        return next(_decoded(path, _decoder, start))[0]
    except StopIteration:
        raise changed(path) from None
    except JournalError:
        if not path.is_file():
            raise
        raise changed(path) from None


def changed(path: Path) -> JournalError:
    """Return the error of a file that was written again while its entries were looked up."""
    return JournalError(
        _("{path} was changed while it was replayed.", path=path),
        _("Begin again: %byzer replay {path}", path=path.name),
    )


def _decoded(path: Path, decoder: msgspec.json.Decoder[T], start: int = 0) -> Iterator[tuple[T, int]]:
    """Yield what the lines of a file hold, and where they begin."""
    number = 0
    try:
        with path.open("rb") as file:
            file.seek(start)
            for number, line in enumerate(file, 1):  # noqa: B007 - used in the error
                if line.strip():
                    yield decoder.decode(line if start else line.removeprefix(codecs.BOM_UTF8)), start
                start += len(line)
    except OSError as err:
        raise JournalError(_("Cannot read {path}: {reason}.", path=path, reason=err.strerror or err)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as err:
        raise JournalError(
            _("Line {number} of {path} is not an entry of a journal: {error}.", number=number, path=path, error=err),
            _("Write such a file with: journal export FILE"),
        ) from None
