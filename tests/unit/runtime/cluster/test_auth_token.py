"""The token that Ray has written: used, or named where it is none."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from byzer_magic.errors import CannotConnect
from byzer_magic.runtime.cluster import auth_token


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delitem(sys.modules, "ray", raising=False)  # it would read the changed variable for good
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    (tmp_path / ".ray").mkdir()
    return tmp_path / ".ray" / "auth_token"


def test_token_is_used_where_there_is_one(file: Path) -> None:
    auth_token.use_token()
    assert "RAY_AUTH_MODE" not in os.environ
    file.write_text("0123456789abcdef\n")
    auth_token.use_token()
    assert os.environ["RAY_AUTH_MODE"] == "token"


@pytest.mark.parametrize("mode", ["", "token"])
def test_what_is_no_token_is_named_by_its_file(mode: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    for make in (lambda: file.write_bytes(b"\xff\xfe bad\n"), lambda: file.write_bytes(b"a\0b"), file.mkdir):
        file.unlink(missing_ok=True)
        make()
        with pytest.raises(CannotConnect) as caught:
            auth_token.use_token()
        assert str(file) in str(caught.value.message)
        assert str(file) in str(caught.value.hint)


def test_token_that_is_not_used_is_not_checked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(b"\xff")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    auth_token.use_token()
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0123")
    auth_token.use_token()


def test_new_token_is_private_whatever_the_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private.authentication import authentication_token_setup as setup

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(setup, "generate_and_save_token", setup.generate_and_save_token)
    auth_token.keep_new_token_private()
    before = os.umask(0o002)
    try:
        setup.generate_and_save_token()
        assert os.umask(0o002) == 0o002, "other files are made as usual"
    finally:
        os.umask(before)
    token = tmp_path / ".ray" / "auth_token"
    assert token.read_text()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (token, token.parent)] == [0o600, 0o700]
