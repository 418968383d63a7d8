"""Placing workers on nodes."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, strategies as st

from byzer_magic.routing.node_choice import PACK, PLACEMENTS, SPREAD, Free, choose

sizes = st.sampled_from([0.0, 0.01, 0.5, 1.0, 2.0])
nodes = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5).map(
    lambda rows: [Free(f"n{place}", f"10.0.0.{place}", *map(float, row)) for place, row in enumerate(rows)]
)


@given(st.sampled_from(PLACEMENTS), nodes, st.integers(0, 12), sizes, sizes)
def test_no_node_is_given_more_than_it_has_and_none_is_left_out(
    placement: str, free: list[Free], count: int, cpus: float, gpus: float
) -> None:
    chosen = Counter(choose(placement, free, count, cpus, gpus))
    room = {each.node: each.holds(cpus, gpus) for each in free}
    assert all(workers <= room[node] for node, workers in chosen.items())
    assert chosen.total() == min(count, sum(room.values()))


@given(nodes, st.integers(1, 12), sizes, sizes)
def test_pack_uses_as_few_nodes_as_will_do(free: list[Free], count: int, cpus: float, gpus: float) -> None:
    chosen = choose(PACK, free, count, cpus, gpus)
    largest = sorted((each.holds(cpus, gpus) for each in free), reverse=True)
    fewest = next((used for used in range(len(largest) + 1) if sum(largest[:used]) >= len(chosen)), 0)
    assert len(set(chosen)) == fewest


@given(nodes, st.integers(1, 12), sizes, sizes)
def test_spread_is_as_even_as_the_room_allows(free: list[Free], count: int, cpus: float, gpus: float) -> None:
    chosen = Counter(choose(SPREAD, free, count, cpus, gpus))
    room = {each.node: each.holds(cpus, gpus) for each in free}
    open_to_more = [chosen[node] for node in room if chosen[node] < room[node]]
    assert max(chosen.values(), default=0) <= min(open_to_more, default=99) + 1


def test_workers_that_there_are_already_count() -> None:
    free = [Free("a", "10.0.0.1", 8, 0), Free("b", "10.0.0.2", 8, 0)]
    assert choose(SPREAD, free, 3, 1, 0, {"a": 2}) == ["b", "b", "a"]
    assert choose(PACK, free, 2, 1, 0, {"b": 1, "gone": 5}) == ["b", "b"]
