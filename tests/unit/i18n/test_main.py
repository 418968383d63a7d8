"""The command that makes and checks the catalogs."""

from __future__ import annotations

from pathlib import Path

import pytest
from babel.messages.pofile import read_po, write_po

from byzer_magic.i18n import __main__ as command
from byzer_magic.i18n.extract import Found

TEXTS = [
    Found("a.py", 1, ("{alias} is deployed.",), formatted=True),
    Found("a.py", 2, ("{count} request", "{count} requests"), formatted=True),
]


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of two texts, with a folder for catalogs."""
    monkeypatch.setattr(command, "LOCALE_DIR", tmp_path / "locale")
    monkeypatch.setattr(command, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(command.extract, "extracted", lambda: iter(TEXTS))
    return tmp_path


def translate(**texts: str | tuple[str, ...]) -> None:
    """Write translations into the Chinese catalog, without compiling it."""
    path = command.po_file("zh_CN")
    with path.open("rb") as file:
        catalog = read_po(file)
    for message in catalog:
        if message.id:
            first = message.id if isinstance(message.id, str) else message.id[0]
            message.string = next((text for key, text in texts.items() if key in first), message.string)
    with path.open("wb") as file:
        write_po(file, catalog, width=0)


def test_update_makes_a_catalog_and_check_names_what_is_not_translated() -> None:
    command.update(["zh_CN"])
    assert command.faults("zh_CN") == [
        "zh_CN: not translated: '{alias} is deployed.'",
        "zh_CN: not translated: ('{count} request', '{count} requests')",
    ]


def test_check_accepts_a_name_without_translation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.extract, "extracted", lambda: iter([Found("a.toml", 0, ("Acme",), is_name=True)]))
    command.update(["zh_CN"])
    assert command.faults("zh_CN") == []


def test_check_names_other_fields_and_a_stale_compiled_file() -> None:
    command.update(["zh_CN"])
    translate(alias="{name} 已部署。", count=("{count} 个请求",))
    assert command.faults("zh_CN") == [
        "zh_CN: other fields than its template: '{alias} is deployed.'",
        "zh_CN: the compiled catalog is out of date; run: make translations",
    ]


def test_update_keeps_translations_and_compiles_them() -> None:
    command.update(["zh_CN"])
    translate(alias="{alias} 已部署。", count=("{count} 个请求",))
    command.update(["zh_CN"])
    assert command.faults("zh_CN") == []


def test_check_names_calls_that_cannot_be_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.extract, "extracted", lambda: iter([Found("b.py", 7, (), fault="put together")]))
    assert command.wrong_calls() == ["b.py:7: put together"]
