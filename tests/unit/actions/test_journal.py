"""`journal export`: which entries go to the tape."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from byzer_magic.actions.actions import run_all
from byzer_magic.actions.context import Context
from byzer_magic.actions.terminal import Terminal
from byzer_magic.client.journaling import JOURNAL
from byzer_magic.client.manager import Manager
from byzer_magic.client.scope import SCOPE
from byzer_magic.commands.parser import parse, split
from byzer_magic.errors import CommandError
from byzer_magic.journal import tape
from byzer_magic.journal.entry import Origin
from byzer_magic.types import ChatRequest, Message
from tests.tapes import recorded


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose journal has entries of two notebooks and of a script."""
    monkeypatch.chdir(tmp_path)
    JOURNAL.turn(on=True)
    store = JOURNAL.store(Manager().settings)
    for notebook in ("a.ipynb", "b.ipynb", ""):
        request = ChatRequest(messages=[Message("user", notebook or "script")])
        store.add(recorded("m", request, "Yes.", origin=Origin("notebook", notebook))).result()
    yield tmp_path
    JOURNAL.turn(on=None)
    SCOPE.begin(Origin("python"))


def export(line: str) -> list[str]:
    run_all(Context(manager=Manager(), output=Terminal()), [parse(split(f"journal export tape.jsonl --force {line}"))])
    path = Path("tape.jsonl")
    return [tape.entry_at(path, mark.start).prompt for mark in tape.marks(path)]


def test_export_of_all_and_of_this_notebook(journal: Path) -> None:
    assert export("") == ["a.ipynb", "b.ipynb", "script"]
    SCOPE.begin(Origin("notebook", "b.ipynb"))
    assert export("--this_notebook") == ["b.ipynb"]
    SCOPE.begin(Origin("shell"))
    with pytest.raises(CommandError, match="not known which notebook"):
        export("--this_notebook")
