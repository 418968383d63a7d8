from __future__ import annotations

from pathlib import Path

import pytest

from byzer_magic.config import Settings, config_file, load
from byzer_magic.errors import ConfigError
from byzer_magic.i18n import language, set_language


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file of our own, absent at first, and none of the machine's BYZER_ variables."""
    for name in Settings.__dataclass_fields__:
        monkeypatch.delenv(f"BYZER_{name.upper()}", raising=False)
    path = tmp_path / "config.toml"
    monkeypatch.setenv("BYZER_CONFIG", str(path))
    return path


def test_load_returns_defaults() -> None:
    assert load() == Settings()


def test_load_takes_argument_before_environment_before_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("connect_seconds = 1\nstart_seconds = 2.5\nlang = 'zh'\n", encoding="utf-8")
    monkeypatch.setenv("BYZER_START_SECONDS", "3")
    monkeypatch.setenv("BYZER_LANG", "en")
    settings = load(lang="zh_CN", local_cpus=None)
    assert settings == Settings(connect_seconds=1.0, start_seconds=3.0, lang="zh_CN")
    assert (type(settings.connect_seconds), type(settings.start_seconds)) == (float, float)


@pytest.mark.parametrize("name", sorted(Settings.__dataclass_fields__))
def test_load_reads_every_setting_from_its_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(getattr(Settings(), name))
    value, wanted = {"spare": ("0", 0), "lang": ("en", "en"), "restore": ("false", False), "journal": ("on", True)}.get(
        name, ("7", kind(7))
    )
    monkeypatch.setenv(f"BYZER_{name.upper()}", value)
    assert getattr(load(), name) == wanted
    assert type(getattr(load(), name)) is kind


def test_load_ignores_other_byzer_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYZER_LOG_LEVEL", "debug")
    assert load() == Settings()


def test_load_refuses_an_unknown_name_in_the_file(file: Path) -> None:
    file.write_text("conect_seconds = 1\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load()
    assert "'conect_seconds'" in caught.value.message
    assert str(file) in caught.value.message
    assert "connect_seconds" in caught.value.hint


def test_load_refuses_an_unknown_argument() -> None:
    with pytest.raises(ConfigError, match="'colour'"):
        load(colour="red")


@pytest.mark.parametrize(
    ("name", "value", "wanted"), [("connect_seconds", "soon", "a number"), ("local_cpus", "all", "a whole number")]
)
def test_load_refuses_a_wrong_type_in_the_environment(
    name: str, value: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"BYZER_{name.upper()}", value)
    with pytest.raises(ConfigError, match=f"{name} is '{value}', which is not {wanted}"):
        load()


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        *((name, value, "a number from 0.001 to 86400") for name in ("connect_seconds", "start_seconds")
          for value in ("nan", "inf", "-inf", "1e999", "0", "-5")),
        ("local_cpus", "-1", "a number from 0 to 10000"),
        ("local_gpus", "-2", "a number from -1 to 1000"),
        ("spare", "2", "a number from 0 to 1"),
        ("spare", "maybe", "a whole number"),
        ("lang", "klingon", "one of en, zh"),
        ("lang", "english", "one of en, zh"),
    ],
)  # fmt: skip
def test_load_refuses_what_a_setting_cannot_be(
    name: str, value: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"BYZER_{name.upper()}", value)
    with pytest.raises(ConfigError, match=f"{name} is '{value}', which is not {wanted}") as caught:
        load()
    assert f"BYZER_{name.upper()}" in caught.value.hint


@pytest.mark.parametrize("lang", ["zh_CN.UTF-8", "zh-TW", "ZH", "en_US", "En", ""])
def test_load_takes_any_locale_of_a_language(lang: str) -> None:
    assert load(lang=lang).lang == lang


def test_load_refuses_a_wrong_type_in_the_file(file: Path) -> None:
    file.write_text("start_seconds = 'late'\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="start_seconds"):
        load()


@pytest.mark.parametrize("line", ["connect_seconds = [1]", "local_cpus = inf"])
def test_load_refuses_an_unusable_value_in_the_file(line: str, file: Path) -> None:
    file.write_text(line, encoding="utf-8")
    with pytest.raises(ConfigError):
        load()


def test_load_refuses_a_file_that_is_not_toml(file: Path) -> None:
    file.write_text("lang: zh\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load()


def test_config_file_follows_its_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BYZER_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config_file() == tmp_path / "byzer-magic" / "config.toml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_file() == tmp_path / ".config" / "byzer-magic" / "config.toml"


@pytest.mark.parametrize(
    ("lang", "locale", "expected"),
    [("", "zh_CN.UTF-8", "zh_CN"), ("", "en_US.UTF-8", "en"), ("zh", "en_US", "zh_CN"), ("en", "zh_CN", "en")],
)
def test_settings_lang_overrides_the_locale(
    lang: str, locale: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANG", locale)
    try:
        set_language(load(lang=lang).lang)
        assert language() == expected
    finally:
        set_language("")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "gbk"])
def test_load_reads_a_file_in_any_encoding(encoding: str, file: Path) -> None:
    file.write_bytes("# \u8bbe\u7f6e\r\nlang = 'zh'\r\n".encode(encoding))
    assert load().lang == "zh"


def test_load_names_a_file_that_cannot_be_read(file: Path) -> None:
    for make, why in (
        (lambda: file.write_bytes(b"\0\1\2"), "save it as UTF-8"),
        (lambda: file.write_text("lang =", encoding="utf-8"), "is not valid TOML"),
        (file.mkdir, "is a directory"),
    ):
        file.unlink(missing_ok=True)
        make()
        with pytest.raises(ConfigError, match=why) as caught:
            load()
        assert str(file) in str(caught.value)


def test_load_without_a_home_takes_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BYZER_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "")
    assert load() == Settings()


def test_load_refuses_a_thousand_brackets(file: Path) -> None:
    file.write_text("lang = " + "[" * 100_000, encoding="utf-8")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load()
