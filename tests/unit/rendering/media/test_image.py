"""Images in a cell."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from PIL import Image

from byzer_magic.media import pixels
from byzer_magic.rendering.media import (
    base as media,
    image as image_view,
)
from byzer_magic.rendering.media.image import ImageView
from tests.pages import Page


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(media, "EMBED_BYTES", 1000)
    return tmp_path


def png(size: tuple[int, int] = (30, 20), form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "GIF", "JPEG"])
def test_dimensions_of_each_format(form: str) -> None:
    assert pixels.dimensions(png((31, 17), form)) == (31, 17)


@given(st.binary(max_size=100))
def test_dimensions_of_damaged_images_raise_nothing(data: bytes) -> None:
    for complete in (data, b"\xff\xd8" + data, b"\xff\xd8\xff\xe0" + data, b"GIF89a" + data, png()[: len(data)]):
        pixels.dimensions(complete)


def test_bundle_is_a_grid_with_prompt_and_parameters() -> None:
    images = [ImageView(data=png(), mime="image/png", caption="a cat, rewritten"), ImageView(url="https://host/a.png")]
    shown = image_view.bundle(images, "a cat", ("size=30x20",), "draw", "")
    page = Page(shown["text/html"])
    assert [button["aria-label"] for button in page.all("button", "bz-enlarge")] == [
        "Enlarge image 1 of 2: a cat",
        "Enlarge image 2 of 2: a cat",
    ]
    first, second = page.all("img")
    assert (first["width"], first["height"], first["alt"]) == ("30", "20", "a cat")
    assert second["src"] == "https://host/a.png"
    assert page.all("button", "bz-download")[0]["data-bz-name"] == "draw-a-cat-1.png"
    for part in ("30 x 20 · image/png · 1 kB · rewritten by the provider: a cat, rewritten", "draw · size=30x20"):
        assert part in shown["text/plain"]
        assert part in page.text


def test_bundle_saves_large_images_beside_the_notebook(here: Path) -> None:
    data = png((300, 300), "BMP")
    shown = image_view.bundle([ImageView(data=data, mime="image/bmp")], "a cat", (), "draw", "")
    kept = next((here / "byzer_media").iterdir())
    assert Page(shown["text/html"]).all("img")[0]["src"] == f"byzer_media/{kept.name}"
    assert kept.suffix == ".bmp"


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html;base64,AAAA", "file:///etc/passwd", "//e.org/a"]
)
def test_url_of_no_web_page_becomes_neither_link_nor_image(url: str) -> None:
    page = Page(image_view.bundle([ImageView(url=url)], "a cat", (), "draw", "")["text/html"])
    assert not {"a", "img"} & page.tags()


def test_image_of_a_private_place_is_a_link_only() -> None:
    page = Page(image_view.bundle([ImageView(url="http://192.168.1.1/reboot")], "a cat", (), "draw", "")["text/html"])
    assert "img" not in page.tags(), "a browser would send the request as soon as the cell is shown"
    assert [link["href"] for link in page.all("a", "")] == ["http://192.168.1.1/reboot"]
