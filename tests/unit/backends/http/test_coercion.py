"""Plain data as typed values."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from byzer_magic.backends.http.coercion import converted, parted


class Inner(msgspec.Struct):
    text: str | None = None
    count: int | None = None


class Outer(msgspec.Struct):
    name: str
    index: int = 0
    ratio: float | None = None
    on: bool = False
    parts: list[Inner] | None = None
    content: str | list[Any] | None = None
    more: dict[str, Any] | None = None
    numbers: list[float] | None = None


@pytest.mark.parametrize(
    ("given_", "found"),
    [
        ({"name": "a"}, Outer("a")),
        ({"name": 42}, Outer("42")),
        ({"name": ["a", {"text": "b"}]}, Outer("ab")),
        ({"name": {"content": [{"text": "c"}]}}, Outer("c")),
        ({"name": "a", "index": None}, Outer("a")),
        ({"name": "a", "index": "3"}, Outer("a", 3)),
        ({"name": "a", "index": 2.9}, Outer("a", 2)),
        ({"name": "a", "index": True}, Outer("a")),
        ({"name": "a", "index": "three"}, Outer("a")),
        ({"name": "a", "index": 1e999}, Outer("a")),
        ({"name": "a", "index": 10**30}, Outer("a")),
        ({"name": "a", "index": "1" * 400}, Outer("a")),
        ({"name": "a", "ratio": "0.5"}, Outer("a", ratio=0.5)),
        ({"name": "a", "ratio": math.nan}, Outer("a")),
        ({"name": "a", "on": "true"}, Outer("a", on=True)),
        ({"name": "a", "on": 1}, Outer("a", on=True)),
        ({"name": "a", "on": []}, Outer("a")),
        ({"name": "a", "parts": {"text": "x"}}, Outer("a", parts=[Inner("x")])),
        ({"name": "a", "parts": {"0": {"text": "x"}, "1": None}}, Outer("a", parts=[Inner("x")])),
        ({"name": "a", "parts": [None, [], {"text": 1, "count": "2"}]}, Outer("a", parts=[Inner(), Inner("1", 2)])),
        ({"name": "a", "content": 7}, Outer("a", content="7")),
        ({"name": "a", "content": [1]}, Outer("a", content=[1])),
        ({"name": "a", "more": []}, Outer("a", more={})),
        ({"name": "a", "more": 3}, Outer("a")),
        ({"name": "a", "numbers": ["1", 2]}, Outer("a", numbers=[1.0, 2.0])),
        ({"name": "a", "numbers": [1, None]}, Outer("a")),
    ],
)  # fmt: skip
def test_converted_takes_what_has_a_plain_meaning(given_: dict[str, Any], found: Outer) -> None:
    assert converted(given_, Outer) == found


@pytest.mark.parametrize("value", [None, [], 3, "a", {"index": 1}, {"name": None}, {"name": {}}])
def test_converted_needs_what_has_no_default(value: Any) -> None:
    with pytest.raises(ValueError, match="it "):
        converted(value, Outer)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(Outer.__struct_fields__), inner),
    max_leaves=20,
)


@given(values)
def test_converted_of_any_json_is_of_the_kind_or_a_value_error(value: Any) -> None:
    try:
        found = converted(value, Outer)
    except ValueError:
        return
    assert msgspec.convert(msgspec.to_builtins(found), Outer) == found or "nan" in repr(found)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("Hi", ("Hi", "")),
        (None, ("", "")),
        (
            [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "Hi"}],
            ("Hi", "Hm"),
        ),
        ([{"type": "reasoning", "reasoning": "Hm"}, "Hi", {"type": "image_url"}], ("Hi", "Hm")),
        ({"type": "thinking", "thinking": "Hm"}, ("", "Hm")),
    ],
)
def test_parted_keeps_reasoning_out_of_the_text(content: Any, parts: tuple[str, str]) -> None:
    assert parted(content) == parts
