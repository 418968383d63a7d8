"""Media in words."""

from __future__ import annotations

import pytest

from byzer_magic.media import describe


@pytest.mark.parametrize(
    ("text", "mime", "name"),
    [
        ("Hello, world!", "audio/mpeg", "m-Hello-world.mp3"),
        ("你好，世界", "audio/wav", "m-你好-世界.wav"),
        ("", "image/png", "m.png"),
        ("../../etc/passwd", "audio/x", "m-etc-passwd.bin"),
        ("word " * 50, "audio/wav; codecs=1", "m-word-word-word-word-word-word-word-word.wav"),
    ],
)
def test_file_name_has_model_text_and_extension(text: str, mime: str, name: str) -> None:
    assert describe.file_name("m", text, mime) == name


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.9, "0:07"), (61, "1:01"), (3599, "59:59"), (3661, "1:01:01")]
)
def test_clock_is_readable(seconds: float, text: str) -> None:
    assert describe.clock(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 kB"), (1, "1 kB"), (1001, "2 kB"), (2_500_000, "2.5 MB")])
def test_size_is_readable(count: int, text: str) -> None:
    assert describe.size(count) == text
