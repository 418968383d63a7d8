"""SenseVoice's tags, and how sounds are cut, joined and put into batches."""

from __future__ import annotations

import pytest

from byzer_magic.backends.custom.sensevoice import spans
from byzer_magic.backends.custom.sensevoice.tags import Piece, joint, summary
from byzer_magic.backends.engine.audio import RATE


def test_tags_are_told_apart() -> None:
    piece = Piece(0, 1, "<|en|><|HAPPY|><|Speech|><|withitn|> Ha <|Laughter|> good  morning.<|Laughter|>")
    assert (piece.language, piece.emotion, piece.events) == ("en", "HAPPY", ["Speech", "Laughter"])
    assert piece.text == "Ha good morning."


def test_text_that_looks_like_a_tag_stays() -> None:
    assert Piece(0, 1, "<|zh|>a < b | c > d").text == "a < b | c > d"


def test_what_was_heard_longest_is_the_whole_sounds() -> None:
    pieces = [
        Piece(0, 1, "<|en|><|SAD|><|Speech|><|woitn|>a"),
        Piece(1, 2, "<|en|><|EMO_UNKNOWN|><|BGM|><|woitn|>b"),
        Piece(2, 3.5, "<|zh|><|HAPPY|><|Speech|><|woitn|>c"),
        Piece(4, 9, "<|nospeech|><|EMO_UNKNOWN|><|Event_UNK|><|woitn|>"),
    ]
    found = summary(pieces)
    assert (found["language"], found["emotion"], found["events"]) == ("en", "HAPPY", ["Speech", "BGM"])
    assert found["tags"][3] == {"start": 4, "end": 9, "language": "nospeech", "emotion": "EMO_UNKNOWN", "events": []}
    assert summary([])["language"] is None


@pytest.mark.parametrize(
    ("before", "after", "between"),
    [
        ("", "a", ""),
        ("a.", "b", " "),
        ("你好。", "再见", ""),
        ("你好", "hello", " "),
        ("です。", "ハ", ""),
        ("네", "네", " "),
    ],
)
def test_chinese_and_japanese_have_no_spaces(before: str, after: str, between: str) -> None:
    assert joint(before, after) == between


def test_blocks_cover_the_sound_and_the_last_is_no_splinter() -> None:
    size = 60 * RATE
    for length in (1, size - 1, size, size + 1, size + RATE - 1, size + RATE, 3 * size + 7):
        found = list(spans.blocks(length, size))
        assert [0, *(end for _, end in found)] == [*(start for start, _ in found), length]
        assert all(RATE <= end - start < size + RATE for start, end in found) or length < RATE


def test_short_stretches_are_joined() -> None:
    found = [(0, 4000), (5000, 9000), (9500, 14_000), (14_500, 16_000), (40_000, 80_000), (81_000, 82_000)]
    assert list(spans.merged(found, 15_000)) == [(0, 14_000), (14_500, 16_000), (40_000, 80_000), (81_000, 82_000)]
    assert list(spans.merged([], 15_000)) == []


def test_batches_hold_so_many_seconds_with_their_padding() -> None:
    found = [(0, 1000), (2000, 3000), (4000, 9000), (10_000, 11_000)]
    assert list(spans.batches(found, 10_000)) == [[(0, 1000), (2000, 3000)], [(4000, 9000), (10_000, 11_000)]]
    assert list(spans.batches(found, 0)) == [[span] for span in found]
    assert list(spans.batches([], 10_000)) == []


def test_without_a_detector_sounds_are_cut_where_it_is_quiet() -> None:
    import numpy as np

    sound = np.ones(70 * RATE, np.float32)
    for second in (10, 27, 52):  # the first is too early to be of use
        sound[second * RATE : second * RATE + RATE // 5] = 0
    found = list(spans.quiet_cuts(sound))
    assert [end // 1000 for _, end in found] == [27, 52, 70]
    assert [start for start, _ in found] == [0, *(end for _, end in found[:-1])]
    assert list(spans.quiet_cuts(sound[: 30 * RATE])) == [(0, 30_000)]
