"""The purse: what requests of several threads and processes spend together is never more than is in it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from byzer_magic import errors
from byzer_magic.journal import purse as purses
from byzer_magic.journal.entry import COMPLETE, FAILED, Entry
from byzer_magic.journal.purse import ROUNDING, PurseFile
from byzer_magic.journal.store import Store
from byzer_magic.types import Usage
from tests.waiting import PATIENCE

MOST, PART, GROWTH = st.floats(0.0, 0.3), st.floats(0.0, 1.0), st.floats(0.5, 3.0)
"""What a request may cost, how much of that it does cost, and by how much it grows."""
SPEND = """
import random, sys, time
from pathlib import Path
from byzer_magic.journal.purse import PurseFile
file, chance = PurseFile(Path(sys.argv[1])), random.Random(int(sys.argv[2]))
print("ready", flush=True)
while True:
    most = chance.uniform(0.001, 0.02)
    found = file.hold(most, most / 2)
    if found.outcome == "short":
        break
    if found.outcome == "held":
        cost = most * chance.random()
        print(f"paid {cost!r}", flush=True)
        file.settle(found.id, cost)
"""
LOOK = """
import sys
from pathlib import Path
from byzer_magic.journal.purse import PurseFile
file = PurseFile(Path(sys.argv[1]))
print(file.read().spent)
file._connection.close()
file._reading.close()
"""
HOLD = """
import sys, time
from pathlib import Path
from byzer_magic.journal.purse import PurseFile
print(PurseFile(Path(sys.argv[1])).hold(0.4, 0.1).outcome, flush=True)
time.sleep(60)
"""


@pytest.fixture
def file(tmp_path: Path) -> PurseFile:
    return PurseFile(Store.open(tmp_path).path)


def test_purse_holds_what_requests_may_cost_and_settles_what_they_did(file: PurseFile) -> None:
    assert file.read() is None
    assert file.hold(0.1, 0.1).outcome == "none"
    assert file.add(1.0) is None
    file.put(0.5, "USD", strict=False)
    first = file.hold(0.3, 0.1)
    assert first.outcome == "held"
    assert file.hold(0.3, 0.1).outcome == "busy", "the first one may cost less than it might"
    assert file.hold(0.6, 0.1).outcome == "short"
    file.settle(first.id, 0.15)
    second = file.hold(0.35, 0.1)
    assert second.outcome == "held", "0.35 is left"
    found = file.read()
    assert found
    assert (found.spent, found.held, found.left) == (0.15, 0.35, 0.35)
    third = file.grow(second.id, 0.6)
    assert (third.outcome, third.amount) == ("short", 0.35), "no more than there is"
    file.settle(second.id, 0.5)
    assert file.read().left == 0.0  # type: ignore[union-attr]
    assert file.hold(0.0, 0.0).outcome == "held", "what costs nothing needs nothing"


def test_purse_of_the_same_amount_again_is_not_a_second_one(file: PurseFile) -> None:
    file.put(0.5, "USD", strict=False)
    file.settle(file.hold(0.4, 0.4).id, 0.4)
    assert file.put(0.5, "USD", strict=True).left == pytest.approx(0.1), "a notebook that runs again has its cell again"
    assert file.add(0.5).left == pytest.approx(0.6)  # type: ignore[union-attr]
    assert file.put(0.5, "USD", strict=False, afresh=True).left == 0.5
    file.settle(file.hold(0.4, 0.4).id, 0.4)
    assert file.put(3.0, "CNY", strict=False).spent == 0.0, "dollars that were spent are no yuan"
    assert file.remove()
    assert not file.remove()


def test_request_that_would_do_with_less_gets_all_that_is_left(file: PurseFile) -> None:
    file.put(0.5, "USD", strict=False)
    first = file.hold(0.3, 0.1, least=0.1)
    assert (first.outcome, first.amount) == ("held", 0.3)
    assert file.hold(0.6, 0.1, least=0.1).outcome == "busy", "0.5 may be left for it, when the first one has ended"
    assert file.hold(0.6, 0.1, least=0.55).outcome == "short"
    assert file.grow(first.id, 0.4).amount == 0.4
    assert file.grow(first.id, 0.2).amount == 0.4, "it is never less"
    file.settle(first.id, 0.3)
    last = file.hold(0.6, 0.1, least=0.1)
    assert last.outcome == "held"
    assert last.amount == pytest.approx(0.2)
    assert file.hold(0.01, 0.01).outcome == "busy"
    file.remove()
    assert file.grow(last.id, 9.0).outcome == "none", "what has no purse has no end"


@settings(max_examples=15, deadline=None)
@given(
    amount=st.floats(0.01, 1.0),
    requests=st.lists(st.tuples(MOST, PART, GROWTH), min_size=1, max_size=60),
    workers=st.integers(1, 8),
)
def test_threads_never_spend_more_than_is_in_the_purse(
    amount: float, requests: list[tuple[float, float, float]], workers: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = PurseFile(Store.open(Path(folder)).path)
        file.put(amount, "USD", strict=False)
        paid: list[float] = []
        refused: list[float] = []

        def ask(request: tuple[float, float, float]) -> None:
            most, part, growth = request
            while (found := file.hold(most, most)).outcome == "busy":
                time.sleep(0.0005)
            if found.outcome == "short":
                refused.append(most)
                return
            cost = part * file.grow(found.id, growth * most).amount
            paid.append(cost)
            file.settle(found.id, cost)

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(ask, requests))
        left = file.read()
        assert left
        assert sum(paid) <= amount + ROUNDING * len(requests)
        assert left.spent == pytest.approx(sum(paid))
        assert left.held == 0
        assert all(most > left.left - ROUNDING * len(requests) for most in refused)


def test_processes_never_spend_more_than_is_in_the_purse_also_when_one_is_killed(file: PurseFile) -> None:
    file.put(0.3, "USD", strict=False)
    spending = [
        subprocess.Popen([sys.executable, "-c", SPEND, str(file.path), str(seed)], stdout=subprocess.PIPE, text=True)
        for seed in range(3)
    ]
    outs = [process.stdout for process in spending]
    assert all(out and out.readline() == "ready\n" for out in outs)
    time.sleep(random.random() / 50)  # at any moment
    spending[0].kill()
    lines = [line for process in spending for line in process.communicate()[0].splitlines()]
    paid = sum(float(line.removeprefix("paid ")) for line in lines)
    found = file.read()
    assert found
    assert len(lines) > 10
    assert paid <= 0.3 + ROUNDING * len(lines) + 0.02, "the one that was killed may have cost more than it probably did"
    assert found.spent == pytest.approx(paid, abs=0.02)
    assert found.held <= 0.02


def test_purse_knows_how_long_the_answers_in_the_journal_were(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    for text, tokens, status in (("为什么", 4, COMPLETE), ("cut", 3, FAILED), ("So.", 2, COMPLETE)):
        usage = Usage(1, tokens)
        store.add(
            Entry(key="", asked="", at=0.0, alias="m", method="chat", answer=text, usage=usage, status=status)
        ).result()
    assert PurseFile(store.path).answers("m") == [(2, 3), (4, 9)]
    assert PurseFile(store.path).answers("other") == []
    store.close()


def test_journal_that_is_opened_beside_the_purse_takes_no_lock_of_it(file: PurseFile, tmp_path: Path) -> None:
    file.put(0.5, "USD", strict=False)
    Store.open(tmp_path).close()
    for spent in (0.0, 0.125, 0.25):
        look = subprocess.run([sys.executable, "-c", LOOK, str(file.path)], capture_output=True, text=True, check=True)
        assert float(look.stdout) == spent, "one that ends while this one goes on takes no file away from it"
        file.settle(file.hold(0.125, 0.125).id, 0.125)


def test_what_a_killed_process_held_counts_as_it_probably_was(file: PurseFile) -> None:
    file.put(0.5, "USD", strict=False)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(file.path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        assert file.hold(0.2, 0.2).outcome == "busy"
        os.kill(holder.pid, signal.SIGKILL)
    assert file.hold(0.2, 0.2).outcome == "held"
    assert file.read().spent == pytest.approx(0.1)  # type: ignore[union-attr]


def test_what_is_held_on_another_machine_expires(file: PurseFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.put(0.5, "USD", strict=False)
    mine = purses._me(os.getpid())
    monkeypatch.setattr(purses, "_me", lambda _pid: ("elsewhere", 1, 1.0))
    file.hold(0.4, 0.1)
    monkeypatch.setattr(purses, "_me", lambda _pid: mine)
    assert file.hold(0.2, 0.2).outcome == "busy"
    monkeypatch.setattr(purses, "ELSEWHERE_SECONDS", -1.0)
    assert file.hold(0.2, 0.2).outcome == "held"


def test_purse_is_read_while_others_write(file: PurseFile) -> None:
    file.put(0.5, "USD", strict=False)
    with file._lock:  # as a transaction has it that waits for another process
        thread = threading.Thread(target=file.read)
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive(), "reading would stop the loop"


def test_purse_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.JournalError, match="cannot be used"):
        PurseFile(tmp_path / "missing" / "journal.db")


def test_what_a_killed_process_of_the_same_number_held_is_not_held_for_ever(
    file: PurseFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.put(0.5, "USD", strict=False)
    here, pid, born = purses._me(os.getpid())
    monkeypatch.setattr(purses, "_me", lambda _pid: (here, pid, born - 3600.0))  # in a container, all may be number 1
    file.hold(0.4, 0.1)
    monkeypatch.setattr(purses, "_me", lambda _pid: (here, pid, born))
    first = file.hold(0.3, 0.1)
    assert first.outcome == "held"
    assert file.hold(0.3, 0.1).outcome == "busy", "its own are held"


def test_purse_in_a_file_that_was_replaced_is_not_used_any_more(file: PurseFile) -> None:
    assert file.usable
    file.path.rename(file.path.with_name("old.db"))
    assert not file.usable
    PurseFile(Store.open(file.path.parent.parent).path)
    assert not file.usable
