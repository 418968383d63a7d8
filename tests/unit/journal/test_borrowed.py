"""A project's journal, purse and locks for processes on other machines: what they send arrives, once."""

from __future__ import annotations

import asyncio
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from byzer_magic.errors import JournalError, JournalOutOfReach
from byzer_magic.journal import borrowed, lending
from byzer_magic.journal.borrowed import BorrowedLocks, BorrowedPurse, BorrowedStore, Line, Send
from byzer_magic.journal.bounds import Bounds
from byzer_magic.journal.entry import Entry
from byzer_magic.journal.lending import LEASE_SECONDS, Call, Lender, Reply
from byzer_magic.journal.purse import ROUNDING, PurseFile
from byzer_magic.journal.store import Store
from byzer_magic.types import ChatChunk, ImageItem
from tests.waiting import PATIENCE

KEY, OTHER = "0f" * 32, "f0" * 32


def entry(key: str, **more: Any) -> Entry:
    fields = {"asked": key, "at": time.time(), "alias": "m", "method": "chat", "answer": f"Echo: {key}"}
    return Entry(**{"key": key, **fields, "pieces": [(0.1, ChatChunk(f"Echo: {key}", finish="stop"))], **more})


class Project:
    """The project on the user's machine, lines to it from others, and the time that the machine sees."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.store = Store.open(folder)
        self.purse = PurseFile(self.store.path)
        self.now = 0.0
        self.lender = Lender(str(folder), socket.gethostname(), Bounds(), lambda: self.now)
        self._stack = stack

    def line(self, send: Send | None = None, sleep: Callable[[float], None] = lambda _seconds: None) -> Line:
        """A line from a machine; its clock is the one of the user's."""
        found = Line(send or self.lender.do, "here", lambda: self.now, sleep)
        self._stack.callback(found.close)
        return found


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with ExitStack() as stack:
        yield Project(tmp_path, stack)


async def test_what_is_written_there_is_known_here_and_the_other_way_round(project: Project) -> None:
    far = BorrowedStore(project.line())
    picture = (0.2, ImageItem("image/png", bytes(5000)))
    numbers = [far.add(entry(key, pieces=[picture])).result(PATIENCE) for key in "ab"]
    assert [found.id for key in "ab" if (found := project.store.find(key))] == numbers
    project.store.add(entry("c")).result(PATIENCE)
    found = await far.look(["a", "b", "c", "d"])
    assert sorted(found) == ["a", "b", "c"]
    assert found["a"].pieces == [picture]
    assert far.has(["c", "d"]) == {"c"}
    assert far.find("c", by="asked") == found["c"]


def test_secret_does_not_leave_the_process_and_an_entry_that_cannot_be_sent_stops_no_other(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_API_KEY", "planted-key-71")
    sent: list[bytes] = []

    def send(name: str, number: int, calls: Sequence[Call]) -> Reply:
        sent.append(pickle.dumps(calls))
        return project.lender.do(name, number, calls)

    far = BorrowedStore(project.line(send))
    odd = far.add(entry("odd", pieces=7))
    good = far.add(entry("k", prompt="Use planted-key-71.", pieces=[(0.1, ChatChunk("planted-key-71"))]))
    assert good.result(PATIENCE)
    assert isinstance(odd.exception(PATIENCE), JournalError)
    assert not any(b"planted-key-71" in each for each in sent)
    assert (found := project.store.find("k"))
    assert found.prompt == "Use ***."


@settings(max_examples=25, deadline=None)
@given(losses=st.lists(st.sampled_from(["arrives", "call", "reply"]), max_size=30))
def test_calls_and_replies_that_are_lost_are_sent_again_and_done_once(
    losses: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with ExitStack() as stack:
        project = Project(tmp_path_factory.mktemp("lossy"), stack)
        project.purse.put(10.0, "USD", strict=False)
        left = list(losses)

        def send(name: str, number: int, calls: Sequence[Call]) -> Reply:
            loss = left.pop(0) if left else "arrives"
            if loss == "call":
                raise ConnectionError("lost")
            reply = project.lender.do(name, number, calls)
            if loss == "reply":
                raise ConnectionError("lost")
            return reply

        line = project.line(send)
        far, purse = BorrowedStore(line), BorrowedPurse(line)
        holds = [purse.hold(0.5, 0.25) for _index in range(4)]
        written = [far.add(entry(f"k{index}")) for index in range(20)]
        for hold in holds:
            purse.settle(hold.id, 0.125)
        assert len({each.result(PATIENCE) for each in written}) == project.store.count() == 20
        found = project.purse.read()
        assert found
        assert (found.spent, found.held) == (0.5, 0.0)


def test_machine_that_does_not_respond_is_an_error_for_all_until_it_does(project: Project) -> None:
    reachable = threading.Event()

    def send(name: str, number: int, calls: Sequence[Call]) -> Reply:
        if not reachable.is_set():
            raise ConnectionError("no route to host")
        return project.lender.do(name, number, calls)

    def sleep(seconds: float) -> None:
        project.now += seconds

    project.purse.put(1.0, "USD", strict=False)
    line = project.line(send, sleep)
    far, purse = BorrowedStore(line), BorrowedPurse(line)
    with pytest.raises(JournalOutOfReach, match="on here, cannot be reached from here: no route to host"):
        far.has(["k"])
    assert project.now >= borrowed.LOST_SECONDS
    with pytest.raises(JournalOutOfReach):
        purse.read()
    before = project.now
    with pytest.raises(JournalOutOfReach):
        far.has(["k"])
    assert project.now == before, "others do not wait as long again"
    reachable.set()
    assert far.has(["k"]) == set()
    assert purse.read() == project.purse.read()


async def test_lock_is_one_for_all_machines_and_that_of_a_dead_one_is_given_back(project: Project) -> None:
    first, second = (BorrowedLocks(project.line()) for _machine in range(2))
    async with first.held([KEY]) as mine:
        assert mine == [KEY]
        assert await first.take([KEY]) == [KEY], "a process does not lock itself out"
        assert await second.take([KEY, OTHER]) == [OTHER]
        second.give_back([OTHER])
    async with asyncio.timeout(PATIENCE), second.held([KEY]) as mine:
        assert mine == [KEY]
    dead = "dead"
    assert await second.take([]) == []  # what was given back has arrived with it
    assert project.lender.do(dead, 1, [Call("take", ([KEY],))]).results == [[KEY]]
    assert await first.take([KEY]) == []
    project.now += LEASE_SECONDS + 1
    assert await first.take([KEY]) == [KEY]
    project.lender.do(dead, 2, [Call("give_back", ([KEY],))])
    assert await second.take([KEY]) == [], "what is another one's by now cannot be given back"


async def test_lock_that_is_taken_while_its_task_is_cancelled_is_given_back(project: Project) -> None:
    asked, goes_on = threading.Event(), threading.Event()

    def send(name: str, number: int, calls: Sequence[Call]) -> Reply:
        reply = project.lender.do(name, number, calls)
        if any(call.verb == "take" for call in calls):
            asked.set()
            goes_on.wait(PATIENCE)
        return reply

    slow = project.line(send)
    taking = asyncio.create_task(BorrowedLocks(slow).take([KEY]))
    await asyncio.to_thread(asked.wait, PATIENCE)
    taking.cancel()
    await asyncio.wait([taking])
    goes_on.set()
    async with asyncio.timeout(PATIENCE), BorrowedLocks(project.line()).held([KEY]) as mine:
        assert mine == [KEY]


def test_what_a_dead_machine_held_counts_as_it_probably_was(project: Project) -> None:
    project.purse.put(1.0, "USD", strict=False)
    [hold] = project.lender.do("dead", 1, [Call("hold", (0.8, 0.3, None))]).results
    project.lender.do("dead", 2, [Call("grow", (hold.id, 0.9))])
    alive = BorrowedPurse(project.line())
    assert alive.hold(0.5, 0.5).outcome == "busy"
    project.now += LEASE_SECONDS + 1
    assert alive.hold(0.5, 0.5).outcome == "short", "nine tenths are spent"
    assert project.purse.read() == alive.read()


def test_machines_and_the_user_never_overspend_a_purse(project: Project) -> None:
    project.purse.put(0.1, "USD", strict=False)

    def spend(purse: PurseFile | BorrowedPurse) -> float:
        paid = 0.0
        while (found := purse.hold(0.004, 0.002)).outcome != "short":
            if found.outcome == "held":
                purse.settle(found.id, 0.003)
                paid += 0.003
        return paid

    purses = [project.purse, *(BorrowedPurse(project.line()) for _machine in range(3))]
    with ThreadPoolExecutor(4) as pool:
        paid = sum(pool.map(spend, purses))
    assert 0.096 - ROUNDING < paid < 0.1 + ROUNDING
    found = project.purse.read()
    assert found
    assert (found.spent, found.held) == (pytest.approx(paid), 0.0)


async def test_answers_that_are_larger_than_a_reply_come_with_the_next_ones(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "MOST_BYTES", 10_000)
    monkeypatch.setattr(borrowed, "MOST_BYTES", 10_000)
    sizes: list[int] = []

    def send(name: str, number: int, calls: Sequence[Call]) -> Reply:
        reply = project.lender.do(name, number, calls)
        sizes.extend(len(pickle.dumps(each)) for each in (calls, reply))
        return reply

    far = BorrowedStore(project.line(send))
    written = [far.add(entry(f"k{at}", pieces=[(0.0, ImageItem("image/png", bytes(8_000)))])) for at in range(30)]
    for each in written:
        each.result(PATIENCE)
    found = await asyncio.gather(*(far.look([f"k{at}"]) for at in range(30)))
    assert [[*each] for each in found] == [[f"k{at}"] for at in range(30)]
    assert max(sizes) < 30_000


def test_project_of_a_machine_that_is_not_in_the_cluster_is_an_error(tmp_path: Path) -> None:
    for folder, host in ((tmp_path, "another"), (tmp_path / "gone", socket.gethostname())):
        with pytest.raises(JournalOutOfReach, match="is not in the cluster"):
            Lender(str(folder), host, Bounds())
    assert list(tmp_path.iterdir()) == []
