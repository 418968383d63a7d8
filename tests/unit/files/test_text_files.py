"""Text files in whatever encoding, and whatever has the name of one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from byzer_magic.files.text_files import LARGEST_BYTES, decoded, read

TEXT = "# \u6211\u7684\u5bc6\u94a5\r\nMY_KEY=sk-own-1\r\nNAME=\u6a21\u578b\r\n"


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gbk", "gb18030"],
)
def test_text_is_read_in_every_encoding_of_the_field(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(TEXT.encode(encoding))
    assert read(tmp_path / "f").text == TEXT


@pytest.mark.parametrize(
    "data", ["\ufeffA=1".encode("utf-16-be"), "A=1".encode("utf-16-be"), b"A=1", b"\xef\xbb\xbfA=1"]
)
def test_text_with_and_without_its_mark_is_the_same(data: bytes) -> None:
    assert decoded(data) == "A=1"


@pytest.mark.parametrize(
    "comment", ["caf\u00e9".encode("latin-1"), "\u65e5\u672c\u8a9e".encode("shift-jis"), b"\xff", b"\x80\xff"]
)
def test_ascii_lines_are_read_beside_lines_of_an_unknown_encoding(comment: bytes) -> None:
    text = decoded(b"# " + comment + b"\nMY_KEY=sk-1\n# \xe5\xaf\x86\n") or ""
    assert "\nMY_KEY=sk-1\n" in text


@pytest.mark.parametrize(
    "data", [b"\x7fELF\x02\x01\x01\0\0\0", b"\x89PNG\r\n\x1a\n\0\0\0", b"\0", b"A=\x001", b"\xff\xfe\0"]
)
def test_what_is_not_text_is_none(data: bytes) -> None:
    assert decoded(data) is None


@given(st.binary(max_size=60) | st.text(max_size=20).map(lambda text: text.encode("utf-16", "surrogatepass")))
def test_any_bytes_are_a_text_or_none(data: bytes) -> None:
    text = decoded(data)
    assert text is None or text.encode() is not None


def test_what_cannot_be_read_has_a_sentence_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"a" * (LARGEST_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"\0\1\2")
    (tmp_path / "loop").symlink_to("loop")
    for name, why in (
        ("folder", "is a directory"),
        ("pipe", "is not a regular file"),
        ("large", "is larger than 4 MB"),
        ("binary", "save it as UTF-8"),
        ("loop", "Cannot read"),
        ("a\0b", "Cannot read"),
        ("x" * 300, "Cannot read"),
    ):
        found = read(tmp_path / name)
        assert why in str(found.problem), name
        assert name.split("\0")[0] in str(found.problem)
        assert (found.text, found.missing) == ("", False)
    assert "is not a regular file" in read(tmp_path / "pipe", pipe=True).problem  # it may have no writer
    assert read(tmp_path / "absent").missing
    assert read(tmp_path / "large" / "below").missing
    assert "Cannot read ~nobody-of-that-name/x" in str(read("~nobody-of-that-name/x").problem)
    assert read(os.devnull).problem == ""


def test_a_pipe_is_read_where_the_user_names_it(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"model: m\n")
    os.close(writing)
    try:
        assert read(f"/dev/fd/{reading}", pipe=True).text == "model: m\n"
    finally:
        os.close(reading)
