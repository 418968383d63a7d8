"""Entries as JSON Lines, one to a line, with all media: a file that needs no other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from byzer_magic import i18n
from byzer_magic.errors import JournalError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.journal.entry import Entry

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


def read(path: Path) -> Iterator[Entry]:
    """Yield the entries of a file.

    Raises:
        JournalError: it cannot be read, or a line is no entry.
    """
    number = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):  # noqa: B007 - used in the error
                if line.strip():
                    yield _decoder.decode(line)
    except OSError as err:
        raise JournalError(_("Cannot read {path}: {reason}.", path=path, reason=err.strerror or err)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as err:
        raise JournalError(
            _("Line {number} of {path} is not an entry of a journal: {error}.", number=number, path=path, error=err),
            _("Write such a file with: journal export FILE"),
        ) from None
