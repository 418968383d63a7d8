"""`purse`, and the question that a terminal asks when it is empty."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from byzer_magic.actions import purse as actions
from byzer_magic.actions.actions import run_all
from byzer_magic.actions.context import Context
from byzer_magic.actions.terminal import Terminal
from byzer_magic.client import spending
from byzer_magic.client.reporter import Question
from byzer_magic.commands.parser import parse, split
from byzer_magic.errors import CommandError

ASK = """
from byzer_magic.actions.terminal import Terminal
from byzer_magic.client.reporter import Question
print("answer:", Terminal().ask(Question(text="Empty.", choices=("Add", "Stop"), typed="How much?")))
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without a purse."""
    monkeypatch.chdir(tmp_path)
    for module in (spending, actions):
        monkeypatch.setattr(module, "WALLET", spending.Wallet() if module is spending else spending.WALLET)
    return tmp_path


def run(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    run_all(Context(manager=cast("Any", SimpleNamespace()), output=Terminal()), [parse(split(line))])
    shown = capsys.readouterr()
    return " ".join((shown.out + shown.err).split())


def test_purse_is_made_filled_shown_and_removed(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    for line in ("purse", "purse +0.50"):
        with pytest.raises(CommandError, match="has no purse"):
            run(line, capsys)
    assert not (project / ".byzer").exists(), "looking makes none"
    assert "$0.50 $0.00 $0.00 $0.50 not counted" in run("purse 0.50", capsys)
    assert "$0.75 $0.00 $0.00 $0.75 not counted" in run("purse +0.25", capsys)
    assert "$3.00 $0.00 $0.00 $3.00 refused" in run("purse $3 --strict", capsys)
    assert "refused" in run("purse", capsys)
    assert run("purse off", capsys) == "The purse is gone."
    assert run("purse off", capsys) == "This project has no purse."


@pytest.mark.parametrize("line", ["purse 0", "purse nan", "purse inf", "purse much", "purse -- -1", "purse --reset"])
def test_purse_needs_an_amount(line: str, capsys: pytest.CaptureFixture[str], project: Path) -> None:
    with pytest.raises(CommandError):
        run(line, capsys)
    assert not (project / ".byzer" / "journal.db").exists()


@pytest.mark.parametrize(("typed", "answer"), [(b"0.5\n", "0.5"), (b"\n", ""), (b"\x04", "None")])
def test_terminal_asks_where_somebody_types(typed: bytes, answer: str) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", ASK], stdin=theirs, stdout=-1, stderr=-1, text=True) as process:
        os.write(ours, typed)
        out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert err == "Empty. How much?\n", "the result may go to a file"
    assert out == f"answer: {answer}\n"


def test_terminal_asks_nobody_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert Terminal().ask(Question(text="Empty.", choices=("Stop",), typed="How much?")) is None
