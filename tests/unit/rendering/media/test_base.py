"""What audio, images and transcripts share."""

from __future__ import annotations

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
from tests.servers.audio_files import tone

EVIL = "<script>alert('1')</script> \" onerror=\"x\" & \x00 ' </figure></div>"


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
