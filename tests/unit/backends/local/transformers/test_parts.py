"""The parts of the transformers engine that need no torch: text from tokens, options, batches."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends.local.transformers.batch import Batches
from byzer_magic.backends.local.transformers.params import GENERATION, wishes
from byzer_magic.backends.local.transformers.text import Text
from byzer_magic.errors import ProviderError


def decode(tokens: list[int]) -> str:
    """Tokens are bytes here."""
    return bytes(tokens).decode(errors="replace")


def pieces(text: bytes, *stops: str) -> list[str]:
    made = Text(decode, stops)
    found = []
    for token in text:
        found.append(made.add(token))
        if made.ended:
            break
    return [*found, made.rest()]


def test_characters_are_whole() -> None:
    assert pieces("aé😀b".encode()) == ["a", "", "é", "", "", "", "😀", "b", ""]


def test_what_is_no_character_is_not_waited_for() -> None:
    assert "b" in "".join(pieces(b"a" + b"\xff" * 20 + b"b"))
    assert pieces("a😀".encode()[:-1])[-1] == "", "the end is cut off in the middle of one"


@pytest.mark.parametrize(
    ("text", "stops", "said"),
    [
        ("hello world", ("wor",), "hello "),
        ("hello world", ("xyz", "o"), "hell"),
        ("aab", ("aaab",), "aab"),
        ("aaab", ("ab", "b"), "aa"),
        ("<end", ("<end>",), "<end"),
        ("日本語です", ("語",), "日本"),
    ],
)
def test_nothing_comes_from_a_stop_text_on(text: str, stops: tuple[str, ...], said: str) -> None:
    assert "".join(pieces(text.encode(), *stops)) == said


def test_only_what_may_be_a_stop_text_is_held_back() -> None:
    assert pieces(b"a<ab<en", "<end>") == ["a", "", "<a", "b", "", "", "", "<en"]


def sampling(options: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    return dict(wishes(defaults, options).sampling)


def test_temperature_says_whether_chance_decides() -> None:
    assert sampling({}) == {"do_sample": False}
    assert sampling({"temperature": 0}, top_p=0.5) == {"do_sample": False}
    assert sampling({"temperature": 1}) == {"do_sample": True, "temperature": 1.0}
    assert sampling({"temperature": 1}, do_sample=False)["do_sample"] is True
    assert sampling({"top_p": 0.5}) == {"do_sample": True, "top_p": 0.5}
    assert sampling({"top_k": -1, "temperature": 2})["top_k"] == 0
    assert sampling({}, do_sample=True, temperature=0.6) == {"do_sample": True, "temperature": 0.6}


def test_neutral_values_are_left_out() -> None:
    assert sampling({"repetition_penalty": 1, "presence_penalty": 0}, repetition_penalty=1.1) == {"do_sample": False}


def test_options_have_openais_names_and_transformers_own() -> None:
    for name in ("max_tokens", "max_completion_tokens", "max_new_tokens"):
        assert wishes({"max_tokens": 9}, {name: 5}).limit == 5
    assert wishes({"stop": '["a", "b"]'}, {}).stops == ("a", "b")
    assert wishes({"stop": "a"}, {"stop_strings": ["b"]}).stops == ("b",)
    assert wishes({}, {"extra_body": {"top_k": 3}}).sampling == (("do_sample", True), ("top_k", 3))
    assert wishes({}, {"max_tokens": None}).limit is None
    assert wishes({}, {"chat_template_kwargs": {"enable_thinking": False}}).template == (("enable_thinking", False),)
    with pytest.raises(errors.BadRequest) as caught:
        wishes({}, {"xyz": 1})
    assert all(name in caught.value.hint for name in GENERATION)


def test_who_can_be_answered_together() -> None:
    def together(first: dict[str, Any], second: dict[str, Any], lengths: tuple[int, int] = (5, 9)) -> bool:
        return wishes({}, first).group(lengths[0]) == wishes({}, second).group(lengths[1])

    assert together({"max_tokens": 1}, {"stop": "x"})
    assert together({"temperature": 1}, {"temperature": 1.0})
    assert together({"seed": 1}, {"seed": 2}), "no chance, no seed"
    assert not together({"temperature": 1}, {"temperature": 0.9})
    assert not together({"temperature": 1, "seed": 1}, {"temperature": 1, "seed": 1}), "others change what comes"
    assert not together({"repetition_penalty": 1.1}, {"repetition_penalty": 1.1}), "padding would count as prompt"
    assert together({"repetition_penalty": 1.1}, {"repetition_penalty": 1.1}, (5, 5))


class Row:
    """A request that counts to `count`."""

    def __init__(self, count: int) -> None:
        self.count, self.stopped, self.done = count, threading.Event(), False


def count(rows: Sequence[Row], emit: Callable[[Row, int | None], None], stopped: threading.Event) -> None:
    """Answer all rows step by step."""
    for number in range(1000):
        live = [row for row in rows if not row.done]
        if not live or stopped.wait(0.001):
            return
        for row in live:
            if row.count < 0:
                raise ValueError("negative")
            row.done = row.stopped.is_set() or number + 1 >= row.count
            emit(row, None if row.stopped.is_set() else number)


async def read(batches: Batches, row: Row, group: object = "") -> list[int]:
    return [item async for item in batches.run(row, group)]


async def test_those_who_wait_are_joined_and_each_ends_by_itself() -> None:
    batches = Batches("test", count, 3)
    answers = await asyncio.gather(*(read(batches, Row(n), group) for n, group in ((2, "a"), (5, "b"), (4, "a"))))
    assert answers == [[0, 1], [0, 1, 2, 3, 4], [0, 1, 2, 3]]
    assert batches.sizes == [2, 1]
    await asyncio.gather(*(read(batches, Row(1)) for _ in range(7)))
    assert batches.sizes == [2, 1, 3, 3, 1], "no more than three at once"
    await batches.close()


async def test_who_leaves_does_not_disturb_the_others() -> None:
    batches = Batches("test", count, 2)
    leaver = batches.run(Row(1000), "")
    stayer = asyncio.create_task(read(batches, Row(50)))
    async for number in leaver:
        if number == 3:
            break
    await leaver.aclose()
    assert not stayer.done()
    assert len(await stayer) == 50
    await batches.close()


async def test_who_waits_can_leave_the_queue() -> None:
    batches = Batches("test", count, 1)
    first = asyncio.create_task(read(batches, Row(200)))
    await asyncio.sleep(0.02)
    second = asyncio.create_task(read(batches, Row(1)))
    await asyncio.sleep(0.02)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert len(await first) == 200
    assert batches.sizes == [1]
    await batches.close()


async def test_a_failure_reaches_all_of_its_batch_and_nobody_else() -> None:
    batches = Batches("test", count, 2)
    first, second = await asyncio.gather(
        read(batches, Row(100)), read(batches, Row(-1)), return_exceptions=True
    )  # fmt: skip
    assert isinstance(first, ProviderError)
    assert isinstance(second, ProviderError)
    assert "negative" in str(first)
    assert await read(batches, Row(2)) == [0, 1]
    await batches.close()


async def test_close_ends_those_who_run_and_those_who_wait() -> None:
    batches = Batches("test", count, 1)
    tasks = [asyncio.create_task(read(batches, Row(900))) for _ in range(2)]
    await asyncio.sleep(0.05)
    await batches.close()
    answers = await asyncio.gather(*tasks)
    assert 0 < len(answers[0]) < 900
    assert answers[1] == []
