"""Channels are mixed without those that cancel each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from byzer_magic.media.mixing import Mixer, cleaned, is_silent

RATE = 8_000
CHANCE = np.random.default_rng(7)
VOICE, OTHER = (CHANCE.standard_normal((2, 3 * RATE)) * 0.1).astype("f4")
NONE = np.zeros_like(VOICE)
HUM = (0.5 * np.sin(2 * np.pi * 50 * np.arange(len(VOICE)) / RATE)).astype("f4")


def mixed(*channels: Any, block: int = 1000) -> tuple[Any, Mixer]:
    """Return the mix of channels that arrive in blocks, as loud as the loudest."""
    mixer, parts, together = Mixer(RATE), [], np.stack(channels).astype("f4")
    for start in range(0, together.shape[1], block):
        parts += mixer.add(together[:, start : start + block])
    parts += mixer.end()
    found = np.concatenate(parts) * mixer.gain
    assert found.shape == VOICE.shape
    return found, mixer


def likeness(one: Any, other: Any) -> float:
    return abs(float(one @ other / np.linalg.norm(one) / np.linalg.norm(other)))


@pytest.mark.parametrize(
    "channels",
    [
        (VOICE, -VOICE),
        (-VOICE, VOICE),
        (VOICE, -0.5 * VOICE),
        (0.9 * VOICE, -VOICE),
        (VOICE + 0.3, 0.3 - VOICE),
        (VOICE, VOICE, -VOICE),
        (VOICE, -VOICE, VOICE, -VOICE),
        (VOICE, *[-0.25 * VOICE] * 4),
        (NONE, -VOICE, VOICE, NONE, NONE, NONE),
    ],
)
def test_mixer_keeps_the_loudest_of_channels_that_cancel(channels: Any) -> None:
    found, mixer = mixed(*channels)
    assert mixer.cancelled
    assert likeness(np.diff(found), np.diff(VOICE)) > 0.999
    assert np.std(np.diff(found)) == pytest.approx(np.std(np.diff(VOICE)), rel=0.01)


def test_mixer_hears_a_voice_that_cancels_below_a_hum_that_does_not() -> None:
    found, mixer = mixed(VOICE + HUM, HUM - VOICE)
    assert mixer.cancelled
    assert likeness(found - HUM, VOICE) > 0.999 or likeness(HUM - found, VOICE) > 0.999


@pytest.mark.parametrize(
    "channels", [(VOICE,), (VOICE, VOICE), (VOICE, NONE), (NONE, VOICE), (VOICE, 0.3 * VOICE), (NONE,) * 5 + (VOICE,)]
)
def test_mixer_is_as_loud_as_the_loudest_channel(channels: Any) -> None:
    found, mixer = mixed(*channels)
    assert not mixer.cancelled
    assert np.allclose(found, VOICE, atol=1e-4)


def test_mixer_hears_two_speakers_on_a_channel_each() -> None:
    for channels in ((VOICE, OTHER), (VOICE - 0.2 * OTHER, OTHER - 0.2 * VOICE), (VOICE, OTHER, -OTHER)):
        found, _mixer = mixed(*channels)
        assert likeness(found, VOICE) > 0.5
        assert likeness(found, OTHER) > 0.5


def test_mixer_hears_a_part_that_cancels_between_others_that_do_not() -> None:
    turned = VOICE.copy()
    turned[RATE : 2 * RATE] *= -1
    found, mixer = mixed(VOICE, turned)
    assert mixer.cancelled
    assert likeness(found, VOICE) > 0.99


def test_mixer_stays_with_a_channel_of_two_that_are_about_as_loud() -> None:
    louder = np.where(np.arange(len(VOICE)) // RATE % 2, 1.1, 0.9).astype("f4")
    found, _mixer = mixed(VOICE, -louder * VOICE)
    assert likeness(found, VOICE) > 0.99, "its sign does not change"


def test_mixer_does_not_click_where_it_changes_over() -> None:
    tone = np.sin(2 * np.pi * 100 * np.arange(len(VOICE)) / RATE).astype("f4")
    turned = np.where(np.arange(len(tone)) < RATE, tone, -0.4 * tone).astype("f4")
    found, _mixer = mixed(tone, turned)
    assert np.abs(np.diff(found)).max() < 2 * np.abs(np.diff(tone)).max()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0.2, 1).flatmap(lambda gain: st.sampled_from([gain, -gain])), min_size=1, max_size=8),
    st.integers(1, 9000),
)
def test_mixer_of_copies_is_the_loudest(gains: list[float], block: int) -> None:
    found, _mixer = mixed(*[gain * VOICE for gain in gains], block=block)
    assert np.allclose(np.abs(found), max(map(abs, gains)) * np.abs(VOICE), atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(0, 3), st.data())
def test_mixer_takes_any_samples(channels: int, count: int, data: st.DataObject) -> None:
    samples = st.lists(st.floats(width=32), min_size=count, max_size=count)
    block = np.array([data.draw(samples) for _ in range(channels)], "f4").reshape(channels, count)
    mixer = Mixer(RATE)
    parts = [*mixer.add(block), *mixer.end()]
    assert sum(map(len, parts)) == count
    assert all(np.isfinite(part).all() for part in parts)
    assert np.isfinite(mixer.gain)


def test_cleaned_replaces_what_is_no_sound() -> None:
    assert cleaned(np.array([0.5, np.nan, np.inf, -np.inf, 1e30, -32768])).tolist() == [0.5, 0, 0, 0, 0, -32768]


def test_is_silent_hears_through_an_offset() -> None:
    assert is_silent(NONE)
    assert is_silent(NONE[:0])
    assert is_silent(NONE + 0.5)
    assert is_silent(VOICE / 1000)
    assert not is_silent(VOICE / 10)
