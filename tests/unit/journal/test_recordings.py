"""Tapes: what a request finds there, and what is said of one that is not there."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, strategies as st

from byzer_magic.errors import JournalError
from byzer_magic.journal import keys, misses, tape
from byzer_magic.journal.entry import COMPLETE, FAILED, INTERRUPTED, Entry
from byzer_magic.journal.recordings import Recordings
from byzer_magic.types import ChatRequest, EmbedRequest, Message
from tests.tapes import recorded, written


def chat(text: str, **options: object) -> ChatRequest:
    return ChatRequest(messages=[Message("user", text)], options=options)


def test_recordings_find_the_last_complete_answer_else_the_error(tmp_path: Path) -> None:
    entries = [
        recorded("m", chat("a"), answer="first"),
        recorded("m", chat("a"), answer="second"),
        recorded("m", chat("a"), answer="half", status=INTERRUPTED),
        recorded("m", chat("a"), answer="of a window", key=""),
        recorded("m", chat("b"), answer="half", status=INTERRUPTED),
        recorded("m", chat("b"), status=FAILED, error={"code": "RateLimited", "message": "429"}),
        recorded("n", chat("c"), answer="third", method="transcribe"),
    ]
    tape_of = Recordings(written(tmp_path, entries))
    assert [tape_of.find(entries[at].asked) for at in (0, 4, 6)] == [entries[1], entries[5], entries[6]]
    assert tape_of.find("else") is None
    assert (tape_of.aliases, tape_of.methods("m"), tape_of.methods("n"), tape_of.methods("x")) == (
        ["m", "n"], {"chat"}, {"transcribe"}, set(),
    )  # fmt: skip
    assert len(tape_of) == 3


def test_recordings_name_the_line_that_is_no_entry(tmp_path: Path) -> None:
    path = written(tmp_path, [recorded("m", chat("a"))])
    path.write_bytes(path.read_bytes() + b'{"no": "entry"}\n')
    with pytest.raises(JournalError, match="Line 2"):
        Recordings(path)
    with pytest.raises(JournalError, match="No such file"):
        Recordings(tmp_path / "missing.jsonl")


@pytest.mark.parametrize(
    ("asked", "alias", "nearest", "lines"),
    [
        (chat("Why is the sky green?"), "m", 0, ["-messages[0].content: Why is the sky blue?"]),
        (chat("Why is the sky blue?", temperature=1), "m", 0, ["+options.temperature: 1"]),
        (chat("Why is the sky blue?"), "other", 0, ["-model: m", "+model: other"]),
        (chat("Count to four."), "m", 1, ["+messages[0].content: Count to four."]),
    ],
    ids=["prompt", "option", "alias", "another"],
)
def test_a_miss_shows_the_nearest_recording_and_the_difference(
    tmp_path: Path, asked: ChatRequest, alias: str, nearest: int, lines: list[str]
) -> None:
    known = [recorded("m", chat("Why is the sky blue?")), recorded("m", chat("Count to three."))]
    known += [recorded("other", chat("Translate the following text into French: good morning"))]
    wanted = recorded(alias, asked)
    assert misses.nearest(wanted, known) == known[nearest]
    error = misses.unknown_request(Recordings(written(tmp_path, known)), wanted)
    text = error.localized()
    assert set(lines) <= set(text.splitlines())
    assert "%byzer journal export tape.jsonl --force" in text


def test_a_miss_says_which_answer_to_a_known_request_is_missing(tmp_path: Path) -> None:
    path = written(tmp_path, [recorded("m", chat("a"))])
    text = misses.unknown_request(Recordings(path), recorded("m", chat("a"), sample=1)).localized()
    assert "but not its answer number 2" in text


@given(known=st.text(max_size=9000), asked=st.text(max_size=9000))
def test_a_difference_is_short_and_not_empty(known: str, asked: str) -> None:
    one, two = recorded("m", chat(known)), recorded("m", chat(asked))
    lines = misses.difference(one, two).splitlines()
    assert len(lines) <= misses.LINES + 1
    assert all(len(line) <= misses.WIDTH + 1 for line in lines)
    if known.split() != asked.split():
        assert lines


def test_a_request_in_which_something_was_hidden_is_compared_as_text() -> None:
    one = Entry(key="", asked="", at=0, alias="m", method="chat", request='{"messages":[{"content":"***')
    assert misses.difference(one, recorded("m", chat("a")))


def test_marks_and_entries_are_the_same(tmp_path: Path) -> None:
    entries = [recorded("m", chat(f"é{number}" * number), answer=str(number)) for number in range(5)]
    path = written(tmp_path, entries)
    assert [tape.entry_at(path, mark.start) for mark in tape.marks(path)] == entries
    assert [mark.status for mark in tape.marks(path)] == [COMPLETE] * 5


def test_a_field_that_a_later_version_adds_leaves_older_tapes_as_they_are() -> None:
    class Later(EmbedRequest, frozen=True, kw_only=True):
        priority: int = 0
        tags: list[str] = msgspec.field(default_factory=list)

    known = keys.canonical(EmbedRequest(texts=["a"]))
    assert keys.canonical(Later(texts=["a"])) == known
    assert keys.canonical(Later(texts=["a"], priority=1)) != known


@pytest.mark.parametrize("now", [b"", b'{"half', "another"])
def test_a_tape_that_was_written_again_is_an_error_and_no_answer_to_something_else(
    tmp_path: Path, now: bytes | str
) -> None:
    one, two = recorded("m", chat("a"), "one"), recorded("m", chat("b"), "two")
    path = written(tmp_path, [one, two])
    tape_of = Recordings(path)
    path.write_bytes(now if isinstance(now, bytes) else b"".join(tape.lines([two, one])))
    with pytest.raises(JournalError, match="was changed while it was replayed"):
        tape_of.find(one.asked)
    path.unlink()
    with pytest.raises(JournalError, match="No such file"):
        tape_of.find(one.asked)
