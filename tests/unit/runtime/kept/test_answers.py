"""Which answers a pool keeps, and following one; time is simulated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.runtime.kept.answers import ITEM_BYTES, Answers, Bounds, Record, follow
from byzer_magic.runtime.transport.messages import KeepRequest

ITEM = b"x" * (100 - ITEM_BYTES)
"""An item that counts 100 bytes."""


def begun(answers: Answers, name: str, now: float = 0.0) -> Record:
    return answers.begin(KeepRequest(name), "chat", "Why?", b"", now)


def ended(answers: Answers, name: str, now: float, items: int = 1) -> Record:
    record = begun(answers, name, now)
    for _ in range(items):
        answers.add(record, ITEM, now)
    answers.end(record, None, now)
    return record


def states(answers: Answers) -> dict[str, str]:
    return {record.about.id: record.state for record in answers.all()}


def test_the_answer_that_ended_first_makes_room_and_says_so() -> None:
    answers = Answers(Bounds(answers=2))
    running = begun(answers, "running", 0)
    ended(answers, "first", 1)
    ended(answers, "second", 2)
    assert states(answers) == {"running": "running", "first": "dropped", "second": "done"}
    with pytest.raises(errors.RequestError, match="The answer first is no longer kept: later ones took its place"):
        answers.find("first")
    answers.end(running, None, 3)
    ended(answers, "third", 4)
    assert states(answers)["second"] == "dropped", "it ended before the one that began first"
    assert states(answers)["running"] == "done"


def test_answers_that_are_running_are_not_dropped() -> None:
    answers = Answers(Bounds(answers=1))
    begun(answers, "a")
    with pytest.raises(errors.Overloaded, match=r"running in the background as are kept \(1\)"):
        begun(answers, "b")
    assert states(answers) == {"a": "running"}


def test_bytes_are_bounded_in_all() -> None:
    answers = Answers(Bounds(total_bytes=250))
    ended(answers, "a", 1)
    ended(answers, "b", 2)
    record = begun(answers, "c", 3)
    answers.add(record, ITEM, 3)
    assert states(answers) == {"a": "dropped", "b": "done", "c": "running"}
    assert answers.size == 200
    answers.add(record, ITEM, 3)
    with pytest.raises(errors.RequestError, match="larger than what the deployment keeps"):
        answers.add(record, ITEM, 3)
    assert answers.size == 200
    assert states(answers) == {"a": "dropped", "b": "dropped", "c": "running"}


def test_an_answer_has_a_bound_of_its_own_which_spares_the_others() -> None:
    answers = Answers(Bounds(answer_bytes=150, total_bytes=1000))
    ended(answers, "a", 1)
    record = begun(answers, "b", 2)
    answers.add(record, ITEM, 2)
    with pytest.raises(errors.RequestError, match="larger than what the deployment keeps"):
        answers.add(record, ITEM, 2)
    assert states(answers) == {"a": "done", "b": "running"}


def test_a_request_that_is_too_large_leaves_nothing_behind() -> None:
    answers = Answers(Bounds(answer_bytes=50))
    with pytest.raises(errors.RequestError, match="larger"):
        answers.begin(KeepRequest("a"), "chat", "", bytes(51), 0.0)
    assert answers.all() == []
    assert answers.size == 0


def test_answers_are_dropped_at_their_age_counted_from_their_end() -> None:
    answers = Answers(Bounds(seconds=3600))
    slow = begun(answers, "slow", 0)
    ended(answers, "quick", 10)
    answers.end(slow, None, 3000)
    answers.expire(3610)
    assert states(answers) == {"slow": "done", "quick": "done"}
    answers.expire(3611)
    assert states(answers) == {"slow": "done", "quick": "dropped"}
    with pytest.raises(errors.RequestError, match="it ended more than 1 h ago"):
        answers.find("quick")


def test_reasons_are_remembered_of_the_last_ones_only() -> None:
    answers = Answers(Bounds(answers=1, dropped=2))
    for number in range(5):
        ended(answers, str(number), number)
    assert states(answers) == {"2": "dropped", "3": "dropped", "4": "done"}
    with pytest.raises(errors.CommandError, match="There is no answer 0"):
        answers.find("0")


async def seen(items: AsyncIterator[tuple[float, Any]], count: int) -> list[Any]:
    return [(await anext(items))[1] for _ in range(count)]


async def test_a_follower_gets_what_is_there_and_then_what_comes() -> None:
    answers = Answers()
    record = begun(answers, "a", 10.0)
    for number in range(3):
        answers.add(record, bytes([number]), 11.0 + number)
    whole, later = follow(record), follow(record, 2)
    assert [await anext(whole) for _ in range(3)] == [(1.0, b"\0"), (2.0, b"\1"), (3.0, b"\2")]
    assert await seen(later, 1) == [b"\2"]
    waiting = [asyncio.ensure_future(anext(items)) for items in (whole, later)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    answers.add(record, b"\3", 14.0)
    assert await asyncio.gather(*waiting) == [(4.0, b"\3"), (4.0, b"\3")]
    answers.end(record, None, 15.0)
    assert [item async for item in whole] == []
    assert [item async for item in follow(record, 3)] == [(4.0, b"\3")]
    assert [item async for item in follow(record, 99)] == []


async def test_a_follower_gets_the_error_after_the_items_and_goes_on_when_the_answer_is_dropped() -> None:
    answers = Answers(Bounds(answers=1))
    record = begun(answers, "a", 0)
    answers.add(record, b"1", 1)
    answers.add(record, b"2", 1)
    answers.end(record, errors.ProviderUnavailable("It is down.", "Wait."), 2)
    items = follow(record)
    assert await seen(items, 1) == [b"1"]
    ended(answers, "b", 3)
    assert record.state == "dropped"
    assert await seen(items, 1) == [b"2"]
    with pytest.raises(errors.ProviderUnavailable, match=r"It is down\.\nWait\."):
        await anext(items)
