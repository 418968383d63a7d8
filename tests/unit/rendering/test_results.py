"""Results as Jupyter shows them."""

from __future__ import annotations

import numpy as np
import pytest

from byzer_magic.rendering import results
from byzer_magic.results import (
    ChatResult,
    EmbedResult,
    ImageResult,
    RerankResult,
    Result,
    SpeakResult,
    TranscribeResult,
)
from byzer_magic.types import ImageItem
from tests.pages import Page

EVIL = '<img src=x onerror="alert(1)">'
RESULTS: list[Result] = [
    ChatResult(model="m", text=EVIL),
    EmbedResult(model="m", vectors=np.ones((2, 3), dtype="<f4")),
    RerankResult(model="m", order=[(0, 0.5)], documents=[EVIL]),
    TranscribeResult(model="m", text=EVIL),
    SpeakResult(model="m", data=b"ID3", mime="audio/mpeg", text=EVIL),
    ImageResult(model="m", pictures=[ImageItem("image/png", b"x")], prompt=EVIL),
]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_with_footer_of_every_result_is_plain_text_and_safe_html(result: Result) -> None:
    data = results.with_footer(result)
    assert data["text/plain"]
    assert all(type(value) is str for value in data.values()), "Markup would escape what is put before it"
    page = Page(data.get("text/html", ""))
    assert not any("onerror" in attributes for _, attributes in page.elements)
