"""The tags in the output of SenseVoice."""

from __future__ import annotations

import pytest

from byzer_magic.backends.custom.sensevoice.tags import TaggedSegment, joint, summary


def test_tagged_segment_has_language_emotion_and_events() -> None:
    segment = TaggedSegment(0, 1, "<|en|><|HAPPY|><|Speech|><|withitn|> Ha <|Laughter|> good  morning.<|Laughter|>")
    assert (segment.language, segment.emotion, segment.events) == ("en", "HAPPY", ["Speech", "Laughter"])
    assert segment.text == "Ha good morning."


def test_tagged_segment_text_keeps_what_only_looks_like_a_tag() -> None:
    assert TaggedSegment(0, 1, "<|zh|>a < b | c > d").text == "a < b | c > d"


def test_summary_has_the_longest_language_and_emotion() -> None:
    tagged = [
        TaggedSegment(0, 1, "<|en|><|SAD|><|Speech|><|woitn|>a"),
        TaggedSegment(1, 2, "<|en|><|EMO_UNKNOWN|><|BGM|><|woitn|>b"),
        TaggedSegment(2, 3.5, "<|zh|><|HAPPY|><|Speech|><|woitn|>c"),
        TaggedSegment(4, 9, "<|nospeech|><|EMO_UNKNOWN|><|Event_UNK|><|woitn|>"),
    ]
    found = summary(tagged)
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
def test_joint_has_no_space_in_chinese_and_japanese(before: str, after: str, between: str) -> None:
    assert joint(before, after) == between
