"""Prefix affinity: balance, affinity and stability, over generated runs of the slot table."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given, strategies as st

from byzer_magic.routing.policy import SESSION
from byzer_magic.routing.sessions import BOUND, Sessions, may_stay, session_of
from byzer_magic.routing.table import SlotTable
from byzer_magic.types import ChatRequest, EmbedRequest, Media, Message

texts = st.text(max_size=8)
messages = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), texts)


def chat(*contents: object, system: object = "Be brief.") -> ChatRequest:
    """Return a chat whose messages are the user's and the model's in turn."""
    roles = [("assistant" if place % 2 else "user") for place in range(len(contents))]
    said = [Message(role, content) for role, content in zip(roles, contents, strict=True)]  # type: ignore[arg-type]
    return ChatRequest(messages=[Message("system", system), *said])  # type: ignore[arg-type]


@given(st.lists(messages, max_size=5), st.lists(messages, max_size=5))
def test_later_turns_are_of_the_same_session(first: list[Message], more: list[Message]) -> None:
    begun = [*first, Message("user", "question")]
    assert session_of(ChatRequest(messages=begun)) == session_of(ChatRequest(messages=[*begun, *more]))


def test_other_beginnings_are_other_sessions() -> None:
    image = [{"type": "text", "text": "Hi"}, Media("image/png", b"1")]
    other = [{"type": "text", "text": "Hi"}, Media("image/png", b"2")]
    found = {
        session_of(request)
        for request in (
            chat("Hi"), chat("Hello"), chat("Hi", system="Be long."), chat("Hi", system=""), chat(image), chat(other),
            ChatRequest(messages=[Message("user", "Be brief.Hi")]), ChatRequest(messages=[]),
        )
    }  # fmt: skip
    assert len(found) == 8
    assert session_of(EmbedRequest(texts=["Hi"])) == b""


def test_quiet_sessions_are_forgotten_first() -> None:
    sessions = Sessions(most=2)
    for number in (0, 1, 0, 2):
        sessions.ran(b"%d" % number, number)
    assert [sessions.home(b"%d" % number) for number in range(3)] == [0, None, 2]


@given(st.integers(1, 8), st.lists(st.integers(0, 5), max_size=60))
def test_chats_alone_stay_on_their_workers_and_are_spread_over_all(workers: int, turns: list[int]) -> None:
    table = SlotTable(workers, 4, policy=SESSION)
    homes: dict[int, set[int]] = {}
    for ticket, number in enumerate(turns):
        grant = table.acquire(ticket, 0.0, b"%d" % number)
        assert grant
        homes.setdefault(number, set()).add(grant.worker)
        table.release(ticket, 0.0)
    assert all(len(home) == 1 for home in homes.values()), "left an idle worker that has its beginning"
    shares = Counter(worker for home in homes.values() for worker in home)
    most, chats = max(shares.values(), default=0), len(homes)
    assert most <= max(1, chats - workers + 1)
    if chats >= workers and turns[:chats] == list(dict.fromkeys(turns)):
        assert len(shares) == workers, "new chats go to those that were used least recently"


@given(
    st.integers(1, 6), st.integers(1, 6),
    st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 99)), max_size=80),
)  # fmt: skip
def test_no_worker_is_much_busier_than_the_mean(workers: int, limit: int, steps: list[tuple[int, bool, int]]) -> None:
    table = SlotTable(workers, limit, policy=SESSION)
    running: list[int] = []
    for ticket, (number, ends, pick) in enumerate(steps):
        if ends and running:
            table.release(running.pop(pick % len(running)), 0.0)
        before = {worker: table.busy(worker) for worker in table.workers}
        grant = table.acquire(ticket, 0.0, b"%d" % number)
        if grant is None:
            assert sum(before.values()) == workers * limit, "waits although a slot is free"
            table.withdraw(ticket, 0.0)
            continue
        running.append(ticket)
        bound = math.ceil(BOUND * (sum(before.values()) + 1) / workers)
        assert table.busy(grant.worker) <= max(bound, min(before.values()) + 1)


@given(st.integers(2, 6), st.integers(1, 20), st.data())
def test_loss_of_a_worker_moves_its_own_chats_only(workers: int, chats: int, data: st.DataObject) -> None:
    table = SlotTable(workers, 30, policy=SESSION)

    def turn(ticket: int, number: int) -> int:
        grant = table.acquire(ticket, 0.0, b"%d" % number)
        assert grant
        table.release(ticket, 0.0)
        return grant.worker

    before = [turn(number, number) for number in range(chats)]
    lost = data.draw(st.integers(0, workers - 1))
    table.set_health(lost, "down", 1.0)
    during = [turn(number, number) for number in range(chats)]
    assert lost not in during
    assert all(old == new for old, new in zip(before, during, strict=True) if old != lost)
    table.set_health(lost, "up", 2.0)
    assert [turn(number, number) for number in range(chats)] == during, "nothing moves when it is back"
    table.resize(range(workers + 2), 3.0)
    assert [turn(number, number) for number in range(chats)] == during, "nor when there are more"


@given(st.integers(1, 50), st.integers(0, 500))
def test_least_busy_worker_may_always_stay(workers: int, running: int) -> None:
    assert may_stay(running // workers, running, workers)
