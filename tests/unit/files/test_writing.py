"""Files for results: checked first, and written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from byzer_magic.files import writing


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_replaces_all_of_a_file_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"longer than before")
    path.chmod(0o640)
    writing.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert _names(tmp_path) == ["a.txt"]


def test_write_that_fails_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        writing.write(path, b"new")
    assert path.read_bytes() == b"before"
    assert _names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("name", ["missing/a.txt", "file/a.txt", "folder", "x" * 300, "loop"])
def test_check_names_what_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError):
        writing.check(tmp_path / name)
    assert _names(tmp_path) == ["file", "folder", "loop"]


def test_write_follows_a_link_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    writing.write(tmp_path / "link", b"x")
    assert (tmp_path / "target").read_bytes() == b"x"
    assert (tmp_path / "link").is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a link of another user")
def test_write_does_not_follow_links_of_others_in_a_shared_folder(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    (shared / "out.txt").symlink_to(precious)
    os.lchown(shared / "out.txt", 12345, 12345)
    with pytest.raises(OSError):
        writing.check(shared / "out.txt")
    with pytest.raises(OSError):
        writing.write(shared / "out.txt", b"x")
    assert precious.read_bytes() == b"mine"


def test_write_to_a_device() -> None:
    writing.write("/dev/null", b"x")
    assert Path("/dev/null").is_char_device()
