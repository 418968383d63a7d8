"""Media and embeddings in the forms of providers."""

from __future__ import annotations

import pytest

from byzer_magic import errors
from byzer_magic.backends.http.media import data_url, to_base64, to_float32
from byzer_magic.types import Media


def test_to_base64_rejects_media_without_bytes() -> None:
    with pytest.raises(errors.BadRequest, match=r"does not accept media URLs: https://host/a\.png"):
        to_base64(Media("image", url="https://host/a.png"))


def test_data_url_prefers_the_url() -> None:
    assert data_url(Media("image/png", b"abc", url="https://host/a.png")) == "https://host/a.png"


def test_to_float32_reads_lists_in_a_list() -> None:
    assert to_float32([[1.0, 0.5]]) == to_float32([1.0, 0.5])
