"""Converting parts of conversations."""

from __future__ import annotations

import pytest

from byzer_magic import errors
from byzer_magic.backends.http.messages import media_of
from byzer_magic.types import Media


def test_media_of_reads_openai_parts_and_ours() -> None:
    url = "https://host/a.png"
    assert media_of({"type": "image_url", "image_url": {"url": url}}).url == url  # type: ignore[union-attr]
    assert media_of(Media("audio/wav", b"RIFF")) == Media("audio/wav", b"RIFF")
    assert media_of({"type": "text", "text": "hi"}) is None


@pytest.mark.parametrize("path", ["/etc/hostname", "file:///etc/hostname"])
def test_media_of_reads_no_files(path: str) -> None:
    for image in (path, {"url": path}):
        with pytest.raises(errors.BadRequest, match="not a URL"):
            media_of({"type": "image_url", "image_url": image})
