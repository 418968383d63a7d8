"""The ledger of this process's requests: by the last run of each cell, and in all."""

from __future__ import annotations

import asyncio

import pytest

from byzer_magic import errors
from byzer_magic.actions import receipt
from byzer_magic.client import ledger as ledgers
from byzer_magic.client.ledger import Cell, Counting, Ledger
from byzer_magic.types import ChatChunk, ChatRequest, Dispatched, FromJournal, Message, Routed, Usage, Waiting

REQUEST = ChatRequest(messages=[Message("user", "twelve bytes")])
PAID = Usage(10, 5, 0.02, "USD")


def ask(ledger: Ledger, *items: object, alias: str = "m", error: BaseException | None = None) -> None:
    """Let a request pass as `Manager.ask` does."""
    try:
        with Counting(ledger, alias, REQUEST) as counting:
            for item in items:
                counting.add(item)
            if error is not None:
                raise error
    except BaseException as err:
        assert err is error


def answer(usage: Usage | None = PAID) -> list[object]:
    return [Waiting(1), Routed("other"), Dispatched(0, 0.1), ChatChunk("a"), ChatChunk("b", finish="stop", usage=usage)]


def test_receipt_has_a_line_for_each_cell_and_a_total_for_each_currency() -> None:
    ledger = Ledger()
    ask(ledger, *answer())
    ledger.begin(Cell(number=2, id="two", words="%chat m Hi"))
    ask(ledger, *answer())
    ask(ledger, *answer(Usage(1, 1, 0.5, "CNY")), alias="n")
    ledger.begin(Cell(number=1, id="one"))
    ask(ledger, FromJournal(7, 0.0), *answer()[3:])
    ledger.begin(Cell(number=3, id="silent"))
    rows = receipt.rows(ledger)
    outside, *cells = [row["Cell"] for row in rows]
    assert outside == "between cells (chat window, background)"
    assert cells == ["[1]", "[2] %chat m Hi", "Total"]
    assert [row["Cost"] for row in rows] == ["$0.0200", "$0", "$0.0200 + ¥0.5000", "$0.0400 + ¥0.5000"]
    assert [row["Saved"] for row in rows] == ["", "$0.0200", "", "$0.0200"]
    assert [row["From the journal"] for row in rows] == ["", "1", "", "1"]
    assert rows[2]["Model"] == "m, n"
    assert rows[1]["Tokens"] == "0 + 0", "the journal used none"
    assert all(row["TTFT"] for row in (rows[0], rows[2], rows[3]))
    assert receipt.rows(Ledger()) == []


def test_receipt_has_the_last_run_of_a_cell_and_the_total_all_of_them() -> None:
    ledger = Ledger()
    ledger.begin(Cell(number=1, id="one"))
    earlier = Counting(ledger, "m", REQUEST)
    ask(ledger, *answer())
    ledger.begin(Cell(number=2, id="one"))
    for _ in range(2):
        ask(ledger, *answer())
    with earlier:  # it ends when the cell runs again
        earlier.add(ChatChunk("late", usage=PAID))
    line, total = receipt.rows(ledger)
    assert line["Cell"] == "[2] (run 2 times)"
    assert (line["Requests"], total["Requests"]) == ("2", "4")
    assert total["Cell"] == "Total, with earlier runs"
    [row] = receipt.frame(ledger).to_dict("records")
    assert (row["cell"], row["runs"], row["requests"], row["cost"]) == (2, 2, 2, pytest.approx(0.04))


def test_receipt_shows_what_failed_and_what_was_stopped() -> None:
    ledger = Ledger()
    ledger.begin(Cell(number=1))
    ask(ledger, error=errors.NotDeployed("m is not deployed."))
    ask(ledger, Dispatched(0, 0.0), error=errors.ProviderUnavailable("gone"))
    ask(ledger, *answer(), error=errors.StreamTruncated("cut"))
    ask(ledger, *answer(None)[:-1], error=asyncio.CancelledError())
    ask(ledger, *answer(None)[:-1], error=GeneratorExit())
    line = receipt.rows(ledger)[0]
    assert line["Requests"] == "5 · 3 failed · 2 interrupted"
    assert line["Cost"] == "$0.0200 + unknown for 2", "those that were refused cost nothing"


def test_ledger_is_bounded_and_its_total_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "MOST_CELLS", 3)
    ledger = Ledger()
    for number in range(1, 6):
        ledger.begin(Cell(number=number))
        ask(ledger, *answer())
    ledger.end()
    assert [run.cell.number for run in ledger.runs()] == [3, 4, 5]
    assert ledger.total["m", "USD"].requests == 5


def test_first_words_of_a_cell_have_no_key_in_them() -> None:
    assert "sk-" not in Cell.of("%chat m --x sk-abcdefghijklmnopqrstuvwxyz0123456789 hi", number=1).words
