"""Routes: what their text means, and whom they ask next."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, strategies as st

from byzer_magic.routing.arms import Arm, Turns, parse

names = st.text(string.ascii_letters + string.digits + "_.-/", min_size=1, max_size=12)
several = st.lists(names, min_size=1, max_size=6, unique=True)


@given(several, st.sampled_from([">", ",", " > ", ", ", "，"]))
def test_order_is_that_of_the_text(aliases: list[str], separator: str) -> None:
    assert parse(separator.join(aliases)) == [Arm(alias) for alias in aliases]


@given(several, st.data())
def test_shares_have_a_sum_of_1(aliases: list[str], data: st.DataObject) -> None:
    weights = [data.draw(st.integers(1, 99)) for _ in aliases]
    arms = parse(",".join(f"{alias}:{weight}" for alias, weight in zip(aliases, weights, strict=True)))
    assert [arm.alias for arm in arms] == aliases
    assert sum(arm.weight or 0 for arm in arms) == pytest.approx(1)


def test_alias_may_have_a_colon_of_its_own() -> None:
    assert parse("llama3:70b>gpt") == [Arm("llama3:70b"), Arm("gpt")]
    assert parse("llama3:70b:0.5,gpt:0.5") == [Arm("llama3:70b", 0.5), Arm("gpt", 0.5)]


@pytest.mark.parametrize("text", ["", ">", "a>", "a,,b", "a,a", "a:0,b:0", ",a"])
def test_text_that_does_not_name_each_deployment_once_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


@given(st.lists(st.integers(1, 20), min_size=2, max_size=5), st.integers(1, 300))
def test_each_arm_has_its_share_to_within_a_few_requests(weights: list[int], requests: int) -> None:
    arms = parse(",".join(f"a{place}:{weight}" for place, weight in enumerate(weights)))
    turns = Turns(arms)
    served = [turns.next() for _ in range(requests)]
    for arm in arms:
        assert abs(served.count(arm.alias) - requests * (arm.weight or 0)) < len(arms)
