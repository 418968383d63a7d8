"""How many requests may be in flight."""

from __future__ import annotations

from hypothesis import given, strategies as st

from byzer_magic.data.pace import LONGEST_PAUSE_SECONDS, PATIENCE_SECONDS, Pace


def test_pace_is_halved_once_for_all_that_were_in_flight_and_grows_again() -> None:
    pace = Pace(64)
    sent = [pace.begin(now=0.0) for _ in range(64)]
    for each in sent:
        pace.refused(each, now=1.0, retry_after=0.5)
    assert (pace.limit, pace.in_flight, pace.refusals) == (32.0, 0, 64)
    assert not pace.has_room(now=1.4)
    assert pace.has_room(now=1.5)
    for _ in range(3000):
        pace.begin(now=2.0)
        pace.ended()
    assert pace.limit == 64


def test_pace_honours_the_longest_retry_after_of_all_that_were_in_flight() -> None:
    pace = Pace(4)
    sent = [pace.begin(now=0.0) for _ in range(2)]
    pace.refused(sent[0], now=0.0, retry_after=1.0)
    pace.refused(sent[1], now=0.1, retry_after=30.0)
    assert pace.wait(now=0.1) == 30.0


def test_pace_waits_longer_each_time_that_is_refused_without_a_word() -> None:
    pace, now, pauses = Pace(8), 0.0, []
    for _ in range(9):
        sent = pace.begin(now)
        now += 0.1
        pace.refused(sent, now)
        pauses.append(pace.wait(now))
        now += pauses[-1]
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    assert pace.limit == 1.0


def test_pace_is_hopeless_only_when_nothing_was_taken_for_long() -> None:
    pace = Pace(2)
    pace.refused(pace.begin(0.0), now=0.0)
    assert not pace.is_hopeless(PATIENCE_SECONDS)
    assert pace.is_hopeless(PATIENCE_SECONDS + 1)
    pace.begin(PATIENCE_SECONDS)
    pace.ended()
    assert not pace.is_hopeless(10 * PATIENCE_SECONDS)
    pace.refused(pace.begin(0.0), now=0.0, retry_after=86_400.0)
    assert pace.is_hopeless(0.0), "nobody waits until tomorrow"


@given(st.integers(1, 100), st.lists(st.sampled_from(["ended", "refused", "dropped"]), max_size=200))
def test_pace_stays_between_one_and_the_most(most: int, events: list[str]) -> None:
    pace, now = Pace(most), 0.0
    for event in events:
        now += 1.0
        sent = pace.begin(now)
        {"ended": pace.ended, "dropped": pace.dropped, "refused": lambda s=sent, n=now: pace.refused(s, n, 0.0)}[
            event
        ]()
        assert 1.0 <= pace.limit <= most
        assert pace.in_flight == 0
        assert pace.has_room(now)
