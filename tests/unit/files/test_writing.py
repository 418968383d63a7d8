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


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a link of another user")
def test_write_does_not_go_through_folders_that_are_links_of_others(tmp_path: Path) -> None:
    shared, mine = tmp_path / "shared", tmp_path / "mine"
    mine.mkdir()
    (mine / "folder").mkdir()
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "results").symlink_to(mine)
    (shared / "own").symlink_to(mine)
    os.lchown(shared / "results", 12345, 12345)
    (mine / "there").symlink_to(shared / "results")
    for path in (shared / "results" / "file", shared / "results" / "folder" / "file", mine / "there" / "file"):
        with pytest.raises(PermissionError):
            writing.write(path, b"x")
    writing.write(shared / "own" / "folder" / ".." / "file", b"x")
    assert _names(mine) == ["file", "folder", "there"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_write_to_an_open_pipe() -> None:
    reading, writing_end = os.pipe()
    writing.write(f"/proc/self/fd/{writing_end}", b"x")
    os.close(writing_end)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"x"


def test_write_to_a_device() -> None:
    writing.write("/dev/null", b"x")
    assert Path("/dev/null").is_char_device()
