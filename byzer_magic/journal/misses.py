"""What to say of a request that a tape does not have: the nearest recording, and in which lines they differ."""

from __future__ import annotations

import difflib
import functools
import heapq
import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from byzer_magic.errors import JournalError
from byzer_magic.i18n import Text, lazy_gettext as _, listed
from byzer_magic.journal.entry import Entry
from byzer_magic.journal.recordings import Recordings

COMPARED = 200
"""Recordings that a request is compared with, the last ones of its alias and capability."""
CLOSELY = 20
"""Of these, those that have most in common with it, and are compared closely: that takes the square of the length."""
SHORT = 300
"""Characters up to which a request is compared character by character; a longer one word by word."""
WORDS = 400
"""Of a longer request."""
WIDTH = 100
"""Columns of a line; longer ones are wrapped, so that the difference is not lost in them."""
LINES = 24
"""Lines of a difference at most."""
SAME_ALIAS = 0.1
"""What the same alias adds to how much two requests are alike, 0..1."""


_WORD = re.compile(r"[a-zA-Z0-9_]+|[^\sa-zA-Z0-9_]")
"""Where there are no spaces, as in Chinese, each character is one."""


def unknown_alias(tape: Recordings, alias: str) -> JournalError:
    """Return the error for an alias that was never asked while the tape was recorded."""
    return JournalError(
        _("{path} has no recording of {alias}; it has {aliases}.", path=tape.path.name, alias=alias,
          aliases=listed(tape.aliases) or _("none at all")),
        _again(tape),
    )  # fmt: skip


def unknown_request(tape: Recordings, asked: Entry) -> JournalError:
    """Return the error for a request that is not on the tape.

    Args:
        tape: what is replayed.
        asked: the request, as it would be recorded, without secrets.
    """
    near = nearest(asked, tape.like(asked.alias, asked.method, COMPARED))
    if near is None:
        return unknown_alias(tape, asked.alias)
    if (near.alias, near.request) == (asked.alias, asked.request):
        return JournalError(
            _("{path} has this request to {alias}, but not its answer number {number}.",
              path=tape.path.name, alias=asked.alias, number=asked.sample + 1),
            _again(tape),
        )  # fmt: skip
    return JournalError(
        _("{path} has no recording of this request to {alias}. The nearest one differs in:\n{difference}",
          path=tape.path.name, alias=asked.alias, difference=difference(near, asked)),
        _again(tape),
    )  # fmt: skip


def _again(tape: Recordings) -> Text:
    return _(
        "Record it again: %byzer replay off, %byzer journal on, run the cells, %byzer journal export {path} --force.",
        path=tape.path.name,
    )


def nearest(asked: Entry, known: Iterable[Entry]) -> Entry | None:
    """Return the recording whose request is most like another; None where there is none to compare.

    Example:
        >>> entries = [Entry(key="", asked="", at=0, alias="m", method="chat", prompt=text) for text in ("one", "two")]
        >>> nearest(Entry(key="", asked="", at=0, alias="m", method="chat", prompt="ones"), entries).prompt
        'one'
    """
    matcher: difflib.SequenceMatcher[str] = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(_parts(asked))

    def alike(entry: Entry, *, closely: bool) -> float:
        matcher.set_seq1(_parts(entry))
        return (matcher.ratio() if closely else matcher.quick_ratio()) + SAME_ALIAS * (entry.alias == asked.alias)

    likely = heapq.nlargest(CLOSELY, known, key=functools.partial(alike, closely=False))
    return max(likely, key=functools.partial(alike, closely=True), default=None)


def _parts(entry: Entry) -> Sequence[str]:
    """Return a request as what is compared: its characters, or the words of a longer one."""
    text = f"{entry.prompt}\n{entry.request}"
    return text if len(text) <= SHORT else [word[0] for word in islice(_WORD.finditer(text), WORDS)]


def difference(known: Entry, asked: Entry) -> str:
    """Return in which lines two requests differ: `-` is the recording, `+` is asked now.

    Example:
        >>> requests = ['{"options":{"temperature":0}}', '{"options":{"temperature":1}}']
        >>> print(difference(*(Entry(key="", asked="", at=0, alias="m", method="chat", request=r) for r in requests)))
         model: m
        -options.temperature: 0
        +options.temperature: 1
    """
    pairs = difflib.unified_diff(_lines(known), _lines(asked), n=1, lineterm="")
    found = [line for line in pairs if not line.startswith(("---", "+++", "@@"))]
    return "\n".join([*found[:LINES], *(["..."] if len(found) > LINES else [])])


def _lines(entry: Entry) -> list[str]:
    """Return a request as lines that people can compare."""
    try:
        request = json.loads(entry.request)
    except ValueError:  # something in it was hidden
        request = entry.request
    named = [("model", entry.alias), *_flat(request, "")]
    lines = [f"{name}: {value}" for name, value in named if value not in (None, "", [], {})]
    return [part for line in lines for text in line.splitlines() for part in textwrap.wrap(text, WIDTH) or [""]]


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the values in plain data, each with its path."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _flat(item, f"{name}[{index}]")
    else:
        yield name, value
