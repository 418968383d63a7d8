"""Fewer garbage collections, not none."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from byzer_magic.runtime.garbage import relax_collector


@pytest.fixture
def thresholds() -> Iterator[None]:
    """The collector's settings, restored after the test."""
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


class Cycle:
    """Refers to itself: only the collector frees it."""

    def __init__(self) -> None:
        self.own = self


@pytest.mark.usefixtures("thresholds")
def test_new_objects_that_stay_are_looked_at_seldom_and_garbage_is_collected() -> None:
    relax_collector()
    before = sum(each["collections"] for each in gc.get_stats())
    garbage = weakref.ref(Cycle())
    stay = [[] for _ in range(120_000)]  # type: ignore[var-annotated]
    assert garbage() is None
    assert sum(each["collections"] for each in gc.get_stats()) - before < 10
    assert len(stay) == 120_000
