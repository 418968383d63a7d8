"""What audio, images and transcripts share."""

from __future__ import annotations

import array
import io
import math
import wave

import pytest

from byzer_magic.i18n import using
from byzer_magic.rendering.media import (
    audio as audio_view,
    image as image_view,
    transcript as transcript_view,
)
from byzer_magic.rendering.media.audio import AudioView
from byzer_magic.rendering.media.image import ImageView
from byzer_magic.types import Segment
from tests.pages import Page

EVIL = "<script>alert('1')</script> \" onerror=\"x\" & \x00 ' </figure></div>"


def wav(samples: bytes, width: int = 2, channels: int = 1, rate: int = 8000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(samples)
    return buffer.getvalue()


def tone(seconds: float = 1.0, rate: int = 8000) -> bytes:
    return wav(array.array("h", [int(9000 * math.sin(i / 5)) for i in range(int(seconds * rate))]).tobytes(), rate=rate)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_bundles_escape_texts_of_others(lang: str) -> None:
    bad = AudioView(data=tone(0.1), mime=f"audio/wav{EVIL}", name=EVIL, transcript=EVIL, facts=(EVIL,), label=EVIL)
    images = ImageView(data=b"x", mime="image/png", caption=EVIL), ImageView(url=f"https://h/{EVIL}")
    with using(lang):
        transcribed = transcript_view.bundle(EVIL, [Segment(0, 1, EVIL)], (EVIL,), bad)
        outputs = [
            audio_view.bundle(bad, ""),
            image_view.bundle(images, EVIL, (EVIL,), EVIL, ""),
            transcribed,
        ]
    for shown in outputs:
        page = Page(shown["text/html"])
        assert [tag for tag, _ in page.elements].count("script") == 1
        assert not any("onerror" in attrs for _, attrs in page.elements)
