"""Tool calls, cut into deltas as different servers do, are the calls again: through a provider's reader and the merger.

What is right is known by construction: the calls are made first, then a stream of them.
"""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import dataclass
from typing import Any

from hypothesis import assume, given, strategies as st

from byzer_magic.backends.openai.reader import Reader
from byzer_magic.client.collect import ChatCollector
from byzer_magic.types import ChatRequest

names = st.sampled_from(["get_weather", "search", "time", "f"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
arguments = st.dictionaries(st.text(min_size=1, max_size=3), values, max_size=3)


@dataclass(frozen=True)
class Style:
    """How a server streams calls."""

    index: str
    """`proper`, `text` (a number as text), `zero` (0 for all), `null` or `missing`."""
    ids: str
    """`first`, `every`, `fresh` (a new one with each delta) or `none`."""
    name: str
    """`first` or `every`."""
    pieces: str
    """`cut`, `whole`, `object`, or `after` (in one piece after the name)."""
    mixed: bool
    """Whether the deltas of different calls alternate."""
    packed: int
    """Deltas in one event."""

    @property
    def is_possible(self) -> bool:
        """Return whether there is anything by which a client can tell the calls apart."""
        indexed = self.index in ("proper", "text")
        if self.ids == "fresh" and (not indexed or self.name == "every"):
            return False
        return not self.mixed or indexed or self.ids == "every"


styles = st.builds(
    Style,
    index=st.sampled_from(["proper", "text", "zero", "null", "missing"]),
    ids=st.sampled_from(["first", "every", "fresh", "none"]),
    name=st.sampled_from(["first", "every"]),
    pieces=st.sampled_from(["cut", "whole", "object", "after"]),
    mixed=st.booleans(),
    packed=st.integers(1, 3),
).filter(lambda style: style.is_possible)


def cut(text: str, dice: random.Random) -> list[str]:
    marks = sorted({0, len(text), *(dice.randrange(len(text)) for _ in range(3))})
    return [text[a:b] for a, b in itertools.pairwise(marks)]


def deltas_of(number: int, call: tuple[str, Any], style: Style, dice: random.Random) -> list[dict[str, Any]]:
    name, given = call
    text = json.dumps(given)
    parts: list[Any] = {"cut": cut(text, dice), "whole": [text], "object": [given], "after": ["", text]}[style.pieces]
    index = {"proper": {"index": number}, "text": {"index": str(number)}, "zero": {"index": 0}, "null": {"index": None}}
    found = []
    for position, part in enumerate(parts):
        identity = {"first": f"call_{number}" if not position else None, "every": f"call_{number}", "none": None}
        own = f"new_{number}_{position}" if style.ids == "fresh" else identity[style.ids]
        function = {"arguments": part} | ({"name": name} if not position or style.name == "every" else {})
        found.append({**index.get(style.index, {}), **({"id": own} if own else {}), "function": function})
    return found


@given(st.lists(st.tuples(names, arguments), min_size=1, max_size=4), styles, st.randoms(use_true_random=False))
def test_streamed_tool_calls_are_the_calls_again(
    calls: list[tuple[str, Any]], style: Style, dice: random.Random
) -> None:
    if style.ids == "none" and style.index not in ("proper", "text"):  # a repeated call looks like a repeated delta
        assume(len({name for name, _ in calls}) == len(calls))
    queues = [deltas_of(number, call, style, dice) for number, call in enumerate(calls)]
    deltas: list[Any] = []
    if style.mixed:
        while queues := [queue for queue in queues if queue]:
            deltas.append(dice.choice(queues).pop(0))
    else:
        deltas = [delta for queue in queues for delta in queue]
    events = [deltas[start : start + style.packed] for start in range(0, len(deltas), style.packed)]
    found = received(events)
    made = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in found]
    if style.mixed and style.index not in ("proper", "text"):  # in the order in which they began
        assert sorted(map(json.dumps, made)) == sorted(map(json.dumps, calls))
    else:
        assert made == calls
    if style.ids in ("first", "every"):
        assert sorted(call["id"] for call in found) == sorted(f"call_{number}" for number in range(len(calls)))
    assert all(call["id"] for call in found), "an id is needed to send a result back"


def received(events: list[Any]) -> list[dict[str, Any]]:
    """Return the calls that a client has of events with these `tool_calls`."""
    reader, collector = Reader(), ChatCollector("m", ChatRequest(messages=[]))
    for calls in events:
        body = {"choices": [{"index": 0, "delta": {"tool_calls": calls}, "finish_reason": None}]}
        if chunk := reader.chunk(json.dumps(body).encode()):
            collector.add(chunk)
    return collector.result().tool_calls or []


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["index", "id", "function", "name", "arguments", "type", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.lists(anything, max_size=4))
def test_odd_tool_calls_never_raise(events: list[Any]) -> None:
    for call in received(events):
        assert isinstance(call["function"]["name"], str)
        assert isinstance(call["function"]["arguments"], str)
        assert isinstance(call["id"], str)
