"""`.env`: whatever it is, it stops nothing that does not need it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from byzer_magic.client.manager import Manager
from byzer_magic.commands import env_file
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import BadParameter, MissingKey

LINES = "# \u6211\u7684\u5bc6\u94a5\r\nMY_KEY=sk-own-1\r\n"
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "directory": (Path.mkdir, "is a directory"),
    "pipe": (os.mkfifo, "is not a regular file"),
    "binary": (lambda path: path.write_bytes(b"\x7fELF\0\0\1MY_KEY=sk-own-1"), "save it as UTF-8"),
    "NUL": (lambda path: path.write_bytes(b"MY_KEY=sk\0own"), "save it as UTF-8"),
    "huge": (lambda path: path.write_bytes(b"\n" * (5 << 20)), "is larger than 4 MB"),
    "loop": (lambda path: path.symlink_to(".env"), "Cannot read .env"),
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return tmp_path / ".env"


def key_of(text: str) -> str:
    params = {"saas.model": "gpt-4o", "saas.api_key": text}
    spec = DeploySpec(model="m", pretrained_model_type="saas/openai", infer_params=params)
    return str(Manager().plan(spec).setup.params["saas.api_key"].reveal())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gbk", "gb18030"])
def test_names_are_found_in_every_encoding(encoding: str, path: Path) -> None:
    path.write_bytes(LINES.encode(encoding))
    assert key_of("${MY_KEY}") == key_of("env:MY_KEY") == "sk-own-1"


@pytest.mark.parametrize(
    "line",
    ["MY_KEY=sk-own-1", "export MY_KEY=sk-own-1", "set MY_KEY=sk-own-1", "SET  MY_KEY=sk-own-1\r",
     '$env:MY_KEY="sk-own-1"', "$Env:MY_KEY = 'sk-own-1'", "\u200bMY_KEY=sk-own-1", "\ufeffset MY_KEY=sk-own-1",
     "\u200bexport MY_KEY=sk-own-1", "\u00a0MY_KEY = sk-own-1"],
)  # fmt: skip
def test_lines_of_every_shell_are_understood(line: str, path: Path) -> None:
    path.write_bytes(f"A=1\n{line}\nB='set C=1'\n".encode())
    assert key_of("${MY_KEY}") == "sk-own-1"
    assert env_file.read().values["B"] == "set C=1"


def test_a_value_of_the_file_that_is_of_no_use_is_traced_to_it(path: Path) -> None:
    path.write_text("EMPTY=\nNAMED=KEY=sk-own-1\n", encoding="utf-8")
    for text, error in (
        ("${EMPTY}", r"^saas\.api_key \(\$\{EMPTY\}, \.env\) is empty"),
        ("${NAMED}", r"^saas\.api_key \(\$\{NAMED\}, \.env\) contains the name"),
        ("env:NAMED", r"^saas\.api_key \(env:NAMED, \.env\) contains the name"),
    ):
        with pytest.raises(BadParameter, match=error):
            key_of(text)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_cannot_be_read_stops_nothing_that_does_not_need_it(kind: str, path: Path) -> None:
    make, why = BROKEN[kind]
    make(path)
    assert key_of("sk-literal") == "sk-literal"
    for text in ("${MY_KEY}", "env:MY_KEY"):
        with pytest.raises(MissingKey) as caught:
            key_of(text)
        assert "MY_KEY" in str(caught.value.message)
        assert why in str(caught.value.hint)
        assert ".env" in str(caught.value.hint)


def test_a_file_that_was_read_is_not_blamed(path: Path) -> None:
    path.write_text("OTHER=1\n", encoding="utf-8")
    with pytest.raises(MissingKey) as caught:
        key_of("${MY_KEY}")
    assert str(caught.value.hint).endswith("or a line in .env.")


def test_a_line_that_is_none_is_named_where_a_name_is_missing_and_nowhere_else(
    path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text("# keys\n\u6211\u7684 key = = x\nMY_KEY=sk-own-1\n'", encoding="utf-8")
    assert key_of("${MY_KEY}") == "sk-own-1"
    with pytest.raises(MissingKey) as caught:
        key_of("${OTHER}")
    assert ".env has no NAME=value in line 2." in str(caught.value.hint)
    assert not caplog.records
    assert capsys.readouterr() == ("", "")


@given(data=st.binary(max_size=80) | st.text("A=\"'\\${}\n #x\x85\u4e00", max_size=40).map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_are_values_or_none(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    assert all(isinstance(value, str) for value in env_file.read().values.values())
