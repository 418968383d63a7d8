"""Discovery files: whatever is in their place, no client is misled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from byzer_magic.runtime.cluster import discovery

LONG = "模型" * 60


@pytest.fixture(autouse=True)
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return discovery.temp_folder()


def kept_in(temp: Path) -> Path:
    return temp / f"byzer-failed-{os.getuid()}"


@pytest.mark.parametrize("alias", ["m", "a/b", LONG])
def test_failed_log_is_kept_until_it_is_forgotten(alias: str) -> None:
    discovery.keep_log(alias, ["one", "two"])
    assert discovery.kept_log(alias) == ["one", "two"]
    discovery.forget_log(alias)
    assert discovery.kept_log(alias) == []


def test_long_aliases_with_a_common_prefix_have_different_files() -> None:
    discovery.keep_log(f"{LONG}1", ["1"])
    discovery.keep_log(f"{LONG}2", ["2"])
    assert discovery.kept_log(f"{LONG}1") == ["1"]


def test_keep_log_writes_nothing_through_a_symbolic_link(temp: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    kept_in(temp).symlink_to(elsewhere)
    discovery.keep_log("m", ["secret"])
    assert list(elsewhere.iterdir()) == []
    (elsewhere / "m.log").write_text("planted")
    assert discovery.kept_log("m") == []


def test_keep_log_ignores_write_errors(temp: Path) -> None:
    kept_in(temp).write_text("a file, where the folder should be")
    discovery.keep_log("m", ["lost"])
    assert discovery.kept_log("m") == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"path": 3}'])
def test_announced_ignores_malformed_files(temp: Path, content: bytes) -> None:
    folder = temp / "session_latest" / "byzer"
    folder.mkdir(parents=True)
    (folder / "m.json").write_bytes(content)
    assert discovery.announced("m") is None


def test_announced_ignores_a_folder(temp: Path) -> None:
    (temp / "session_latest" / "byzer" / "m.json").mkdir(parents=True)
    assert discovery.announced("m") is None
