"""No secret gets into the journal, wherever in a request or an answer it is, and however it is cut into pieces."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, strategies as st

from byzer_magic.journal import keys
from byzer_magic.journal.entry import Entry
from byzer_magic.journal.hiding import hidden
from byzer_magic.journal.store import Store
from byzer_magic.types import ChatChunk, ChatRequest, Message, Segment, TranscriptChunk, Usage
from tests.waiting import PATIENCE

SECRET = "sk-planted-0123456789abcdef"


def entry(text: str, pieces: Sequence[object]) -> Entry:
    request = ChatRequest(messages=[Message("user", text)], options={"user": text})
    return Entry(
        key="k", asked="a", at=time.time(), alias="m", method="chat", request=keys.canonical(request).decode(),
        prompt=text, pieces=[(0.1, piece) for piece in pieces],  # type: ignore[misc]
    )  # fmt: skip


@given(st.lists(st.integers(1, 40), max_size=6), st.sampled_from(["text", "reasoning", "tools"]))
def test_secret_in_pieces_is_hidden_and_nothing_else(cuts: list[int], where: str) -> None:
    whole = f"The key is {SECRET}, they say."
    places = sorted({0, *(cut for cut in cuts if cut < len(whole)), len(whole)})
    parts = [whole[start:end] for start, end in itertools.pairwise(places)]
    made = {
        "text": lambda part: ChatChunk(part),
        "reasoning": lambda part: ChatChunk(reasoning=part),
        "tools": lambda part: ChatChunk(tool_calls=[{"index": 0, "function": {"arguments": part}}]),
    }[where]
    found = hidden(entry("hello", [*map(made, parts), ChatChunk(finish="stop", usage=Usage(3, 4))]))
    everything = msgspec.json.encode(found).decode()
    assert not any(SECRET[at : at + 10] in everything for at in range(len(SECRET) - 10))
    if where == "text":
        assert "".join(item.text for _, item in found.pieces) == "The key is ***, they say."  # type: ignore[union-attr]
    last = found.pieces[-1][1]
    assert isinstance(last, ChatChunk)
    assert (last.finish, last.usage) == ("stop", Usage(3, 4))


def test_secret_in_a_request_is_hidden_and_the_pieces_stay() -> None:
    pieces = [TranscriptChunk("Good ", [Segment(0, 1, "Good ")]), TranscriptChunk("morning.")]
    found = hidden(entry(f"My password for https://me:{SECRET}@e.org is hunter22", pieces), ("hunter22",))
    assert "hunter22" not in found.request + found.prompt
    assert SECRET not in msgspec.json.encode(found).decode()
    assert [item for _, item in found.pieces] == pieces


def test_nothing_of_it_is_in_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_OWN_TOKEN", "a-token-without-a-shape")
    store = Store.open(tmp_path)
    pieces = [ChatChunk("a-token-"), ChatChunk("without-a-shape")]
    store.add(entry(f"{SECRET} a-token-without-a-shape", pieces)).result(PATIENCE)
    store.close()
    data = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET.encode() not in data
    assert b"a-token-without" not in data
    (found,) = Store.open(tmp_path).walk()
    assert found is not None
    assert "".join(item.text for _, item in found.pieces) == "***"  # type: ignore[union-attr]
