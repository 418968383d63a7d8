"""The folder of one's own: made privately, and believed only when it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from byzer_magic.errors import CannotConnect
from byzer_magic.runtime.cluster import own_folder
from tests.conftest import short_folder
from tests.users import ALICE, BOB, as_user, needs_root


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files as /tmp is."""
    with short_folder() as folder:
        Path(folder).chmod(0o1777)
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_is_private_and_found_again(base: Path) -> None:
    assert own_folder.find() is None
    folder = own_folder.own_folder()
    assert (folder, mode(folder)) == (base / f"byzer-{os.getuid()}", 0o700)
    assert own_folder.find() == folder == own_folder.own_folder()


@pytest.mark.parametrize("runtime", ["", "/nonexistent/run", "/proc/1", "relative"])
def test_runtime_folder_of_the_session_has_no_part_in_it(
    runtime: str, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub's servers, cron and sudo have none, or that of somebody else, and find the same Ray all the same."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    assert own_folder.own_folder() == base / f"byzer-{os.getuid()}"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert own_folder.find() == base / f"byzer-{os.getuid()}"


def test_missing_base_is_made(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(base / "new" / "deep"))
    assert own_folder.own_folder().is_dir()


@pytest.mark.parametrize("variable", own_folder.VARIABLES)
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("ray", "not an absolute path"),
        ("~/ray", "not an absolute path"),
        ("{base}/\u76ee\u5f55", "other characters than ASCII"),
        ("{base}/file", "not a folder"),
        ("{base}/link", "not a folder"),
        ("/dev/null", "not a folder"),
    ],
)
def test_base_in_which_ray_cannot_start_is_named_with_its_variable(
    variable: str, value: str, why: str, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base / "file").touch()
    (base / "link").symlink_to("gone")
    own_folder.check_base()
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setenv(variable, value.format(base=base))
    with pytest.raises(CannotConnect, match=f"^{variable} is .*{why}") as caught:
        own_folder.check_base()
    assert "Set RAY_TMPDIR" in caught.value.hint


def test_folder_that_others_could_enter_is_closed(base: Path) -> None:
    folder = base / f"byzer-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    assert own_folder.find() == folder
    assert mode(folder) == 0o700


def test_symbolic_link_is_not_believed(base: Path) -> None:
    (base / "elsewhere").mkdir()
    (base / f"byzer-{os.getuid()}").symlink_to(base / "elsewhere")
    assert own_folder.find() is None
    with pytest.raises(CannotConnect, match="is not a folder of yours") as caught:
        own_folder.own_folder()
    assert "RAY_TMPDIR" in caught.value.hint


@needs_root
class TestTwoUsers:
    def test_each_has_a_folder(self, base: Path) -> None:
        folders = [as_user(uid, own_folder.own_folder) for uid in (ALICE, BOB)]
        assert folders == [base / f"byzer-{ALICE}", base / f"byzer-{BOB}"]

    def test_folder_that_another_user_has_made_is_refused(self, base: Path) -> None:
        (base / f"byzer-{BOB}").mkdir()

        def make() -> str:
            try:
                return str(own_folder.own_folder())
            except CannotConnect as err:
                return str(err.message)

        assert as_user(BOB, make) == f"{base}/byzer-{BOB} is not a folder of yours: it belongs to root."

    def test_folder_is_in_rays_where_only_that_is_writable(self, base: Path) -> None:
        (base / "ray").mkdir()
        (base / "ray").chmod(0o777)
        base.chmod(0o755)
        folders = [as_user(uid, own_folder.own_folder) for uid in (ALICE, BOB, ALICE)]
        assert folders == [base / "ray" / f"byzer-{uid}" for uid in (ALICE, BOB, ALICE)]

    def test_base_that_is_not_writable_is_named(self, base: Path) -> None:
        base.chmod(0o755)

        def make() -> str:
            try:
                return str(own_folder.own_folder())
            except CannotConnect as err:
                return str(err)

        text = as_user(ALICE, make)
        assert text.startswith(f"{base}/byzer-{ALICE} cannot be created: Permission denied.\nSet RAY_TMPDIR")
        assert as_user(ALICE, own_folder.find) is None
