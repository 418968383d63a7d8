"""Files in folders that others may write: no link is followed, and only one's own are believed."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from byzer_magic.files import private
from tests.users import ALICE, BOB, as_user, needs_root, open_folder


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that everybody may write."""
    with open_folder() as base:
        yield base


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("opening", [private.write_own, private.open_own])
class TestWriting:
    def test_new_file_is_private_whatever_the_mask(self, opening: type, base: Path) -> None:
        before = os.umask(0)
        try:
            with opening(base / "file") as output:
                output.write(b"text")
        finally:
            os.umask(before)
        assert mode(base / "file") == 0o600

    def test_own_file_that_others_could_read_is_closed_to_them(self, opening: type, base: Path) -> None:
        (base / "file").touch(0o666)
        opening(base / "file").close()
        assert mode(base / "file") == 0o600

    def test_link_is_not_followed(self, opening: type, base: Path) -> None:
        (base / "precious").write_text("precious")
        (base / "link").symlink_to(base / "precious")
        with pytest.raises(OSError, match="symbolic link"):
            opening(base / "link")
        os.link(base / "precious", base / "hard")
        with pytest.raises(OSError, match="not permitted"):
            opening(base / "hard")
        assert (base / "precious").read_text() == "precious"

    def test_what_is_no_file_is_refused_at_once(self, opening: type, base: Path) -> None:
        os.mkfifo(base / "pipe")
        (base / "folder").mkdir()
        for name in ("pipe", "folder"):
            with pytest.raises(OSError, match=r"not permitted|directory"):
                opening(base / name)


def test_writing_begins_anew_and_opening_does_not(base: Path) -> None:
    (base / "file").write_text("a longer text")
    with private.open_own(base / "file") as file:
        assert file.read() == b"a longer text"
    with private.write_own(base / "file") as file:
        file.write(b"short")
    assert private.read_own(base / "file") == b"short"


@pytest.mark.parametrize("content", [b"", b"two\nlines", b"\xff", b"\x1b[31m", b"a\0b"])
def test_read_small_refuses_what_is_no_line(base: Path, content: bytes) -> None:
    (base / "file").write_bytes(content)
    assert private.read_small(base / "file") is None


def test_what_is_no_file_is_not_read(base: Path) -> None:
    os.mkfifo(base / "pipe")
    (base / "link").symlink_to("/etc/hostname")
    (base / "folder").mkdir()
    for name in ("pipe", "link", "folder", "nothing"):
        assert private.read_small(base / name) is private.read_own(base / name) is None
    (base / "file").write_text(" 10.0.0.5:6379\n")
    assert private.read_small(base / "file") == ("10.0.0.5:6379", os.getuid())


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_file_that_others_can_write_is_not_believed(base: Path, mode: int) -> None:
    (base / "file").write_text("mine, or is it?")
    (base / "file").chmod(mode)
    with pytest.raises(private.Exposed):
        private.read_own(base / "file")
    (base / "file").chmod(0o644)
    assert private.read_own(base / "file") == b"mine, or is it?"


@needs_root
def test_file_of_another_user_is_neither_written_nor_believed(base: Path) -> None:
    as_user(ALICE, lambda: (base / "file").write_text("a trap"))
    (base / "file").chmod(0o666)
    for opening in (private.write_own, private.open_own):
        with pytest.raises(PermissionError):
            opening(base / "file")
    (base / "file").chmod(0o644)
    assert private.read_own(base / "file") is None
    assert as_user(BOB, lambda: private.read_own(base / "file")) is None
    assert as_user(ALICE, lambda: private.read_own(base / "file")) == b"a trap"
    assert private.read_small(base / "file") == ("a trap", ALICE), "who has written it is told"


def test_file_that_is_there_is_checked_without_being_opened(tmp_path: Path) -> None:
    own, link, twice = tmp_path / "own", tmp_path / "link", tmp_path / "twice"
    private.ensure_own(own)
    assert own.stat().st_mode & 0o777 == 0o600
    own.write_bytes(b"kept")
    own.chmod(0o644)
    private.ensure_own(own)
    assert (own.read_bytes(), own.stat().st_mode & 0o777) == (b"kept", 0o600)
    with own.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        private.ensure_own(own)
        taking = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        taken = subprocess.run([sys.executable, "-c", taking, str(own)], stderr=subprocess.DEVNULL)
        assert taken.returncode, "it is still locked"
    link.symlink_to(own)
    with pytest.raises(PermissionError):
        private.ensure_own(link)
    twice.hardlink_to(own)
    with pytest.raises(PermissionError):
        private.ensure_own(own)
