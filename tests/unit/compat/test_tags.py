"""Tags in texts, and media between them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from byzer_magic.compat.tags import Audio, Image, TagExtractor, separated

DATA = "data:image/png;base64,AA=="
TAGGED = f"<_image_>{DATA}</_image_>"


def test_tags_are_a_tree() -> None:
    text = "before <_group_> <_q_>one</_q_>\n <_a_>two\n</_a_> </_group_> between <_group_>x</_group_>"
    first, second = TagExtractor(text).extract().content
    assert [(tag.start_tag, tag.content, tag.end_tag) for tag in first.content] == [
        ("<_q_>", "one", "</_q_>"),
        ("<_a_>", "two\n", "</_a_>"),
    ]
    assert first.content[0].parent is first
    assert second.content == "x"
    first.content[0].parent = None
    assert '"content":"one"' in first.content[0].model_dump_json()


def test_text_without_tags_has_none() -> None:
    root = TagExtractor("\n 大家好 <b>x</b>\n").extract()
    assert (root.start_tag, root.content) == ("<_ROOT_>", [])


@given(st.lists(st.sampled_from(["<_a_>", "</_a_>", "<_b_>", "</_b_>", "text", " ", "<", "_"])))
def test_any_text_has_a_tree_with_all_its_opening_tags(pieces: list[str]) -> None:
    def count(content: object) -> int:
        return (
            sum(1 + count(each.content) for each in content if not isinstance(each, str))
            if isinstance(content, list)
            else 0
        )

    text = "".join(pieces)
    assert count(TagExtractor(text).extract().content) == text.count("<_a_>") + text.count("<_b_>")


def test_images_are_loaded_saved_and_found(tmp_path: Path) -> None:
    path = tmp_path / "x.PNG"
    path.write_bytes(b"\0")
    assert Image.load_image_from_path(str(path)) == TAGGED
    assert Image.load_image_from_path(str(path), only_content=True) == DATA
    assert Path(Image.save_image_to_path(DATA, str(tmp_path / "y.jpg"), auto_fix_suffix=True)).name == "y.png"
    assert (tmp_path / "y.png").read_bytes() == base64.b64decode("AA==")
    with pytest.raises(ValueError, match="not a data URL"):
        Image.save_image_to_path("x", str(tmp_path / "z.png"))
    assert Image(f"{TAGGED} what?").has_image()
    assert not Image("what?").has_image()
    assert Image(f"{TAGGED} what?").to_content() == [{"image": DATA}, {"text": "what?"}]
    assert Image.extract_image_paths(f"<_image_>/tmp/a.png\n  </_image_>哈哈<_img_>/tmp/b.png</_img_>{TAGGED}") == [
        "/tmp/a.png", "/tmp/b.png",
    ]  # fmt: skip
    assert Image.extract_image_paths(f"<_image_>{path}</_image_>", to_base64=True) == [TAGGED]
    assert Image.convert_image_paths_from("<img> /tmp/a.png </img>x") == "<_image_>/tmp/a.png</_image_>x"


def test_audio_is_loaded_and_found(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    path.write_bytes(b"\0")
    tagged = Audio.load_audio_from_path(str(path))
    assert tagged == "<_audio_>data:audio/mp3;base64,AA==</_audio_>"
    assert Audio(tagged).has_audio()
    assert Audio(tagged).to_content() == [{"audio": "data:audio/mp3;base64,AA=="}]
    assert Audio.extract_audio_paths("<_audio_>/tmp/a.mp3</_audio_>") == ["/tmp/a.mp3"]


def test_separated_leaves_paths_in_the_text() -> None:
    text = "<_image_>/etc/hosts</_image_> x"
    assert separated(text, "image") == (text, [])
