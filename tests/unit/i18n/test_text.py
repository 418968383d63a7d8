"""Lazy texts: their English, their translation, and their way through processes."""

from __future__ import annotations

import enum
import pickle
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from byzer_magic.errors import BadRequest, ByzerError
from byzer_magic.i18n import (
    Text,
    gettext,
    join,
    lazy_gettext,
    lazy_ngettext,
    listed,
    localized,
    ngettext,
    pack,
    text as text_module,
    unpack,
    using,
)  # fmt: skip

CHINESE = {
    "{alias} is deployed.": "{alias} 已部署。",
    "Try again.": "请重试。",
    "{one} and {two}": "{two}和{one}",
    "{count} request": "{count} 个请求",
    "{path} does not exist.": "{gone} 不存在。",
    ", ": "、",
}


class Catalog:
    """What gettext gives for a language, with a few texts."""

    def gettext(self, template: str) -> str:
        return CHINESE.get(template, template)

    def ngettext(self, singular: str, plural: str, count: int) -> str:
        return CHINESE.get(singular, singular if count == 1 else plural)


class Nothing(Catalog):
    def gettext(self, template: str) -> str:
        return template

    def ngettext(self, singular: str, plural: str, count: int) -> str:
        return singular if count == 1 else plural


@pytest.fixture(autouse=True)
def catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "_catalog", lambda name: Catalog() if name == "zh_CN" else Nothing())


@pytest.fixture
def chinese() -> Iterator[None]:
    with using("zh"):
        yield


def test_text_is_english_as_a_str_and_translated_on_demand() -> None:
    text = lazy_gettext("{alias} is deployed.", alias="m")
    assert text == "m is deployed."
    assert text.translated("zh") == localized(text, "zh") == "m 已部署。"
    assert localized(text) == "m is deployed."


def test_text_without_values_keeps_its_braces() -> None:
    assert lazy_gettext("Set ${NAME} first.") == "Set ${NAME} first."


def test_gettext_translates_at_once(chinese: None) -> None:
    assert gettext("Try again.") == "请重试。"
    assert type(gettext("Try again.")) is str


@pytest.mark.parametrize(
    ("count", "words"),
    [(1, "1 request"), (2, "2 requests"), (0, "0 requests"), (1.0, "1.0 request"), (0.5, "0.5 requests")],
)
def test_ngettext_chooses_the_form_by_the_count(count: float, words: str) -> None:
    assert ngettext("{count} request", "{count} requests", count) == words
    assert lazy_ngettext("{count} request", "{count} requests", count).translated("zh") == f"{count} 个请求"


def test_values_that_are_texts_are_translated_with_the_template() -> None:
    inner = lazy_ngettext("{count} request", "{count} requests", 3)
    text = lazy_gettext("{one} and {two}", one=inner, two="b")
    assert text == "3 requests and b"
    assert text.translated("zh") == "b和3 个请求"


def test_join_and_plus_keep_the_translation() -> None:
    text = join(lazy_gettext("{alias} is deployed.", alias="m"), "", lazy_gettext("Try again."))
    assert text == "m is deployed. Try again."
    assert text.translated("zh") == "m 已部署。请重试。"
    again = lazy_gettext("Try again.")
    assert localized("> " + again + "!", "zh") == "> 请重试。!"
    assert isinstance("> " + again, Text)


def test_join_takes_parts_with_braces_as_they_are() -> None:
    assert join("${NAME}", "{x}") == "${NAME} {x}"


@pytest.mark.parametrize(
    ("items", "english", "chinese"), [(["a", "b", "c"], "a, b, c", "a、b、c"), (["a"], "a", "a"), ([], "", "")]
)
def test_listed_separates_items_as_the_language_does(items: list[str], english: str, chinese: str) -> None:
    text = listed(items)
    assert text == english
    assert unpack(pack(text)).translated("zh") == chinese


def test_empty_text_is_not_the_header_of_the_catalog() -> None:
    assert lazy_gettext("").translated("zh") == ""
    assert gettext("") == ""


def test_text_falls_back_to_english_when_the_translation_has_other_fields() -> None:
    assert lazy_gettext("{path} does not exist.", path="a").translated("zh") == "a does not exist."


@pytest.mark.parametrize(
    "text",
    [
        lazy_gettext("{alias} is deployed.", alias="m"),
        lazy_gettext("{one} and {two}", one=lazy_gettext("Try again."), two=2),
        lazy_ngettext("{count} request", "{count} requests", 2),
        join(lazy_gettext("Try again."), "x"),
        "plain",
        "",
    ],
)
def test_texts_cross_processes_with_template_and_values(text: str) -> None:
    copies = [pickle.loads(pickle.dumps(text)), unpack(msgspec.msgpack.decode(msgspec.msgpack.encode(pack(text))))]
    for copy in copies:
        assert copy == text
        assert localized(copy, "zh") == localized(text, "zh")
        assert type(copy) is type(text)


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(Path("/a/b"), "/a/b"), (Colour.RED, "red"), (ValueError("no"), "no"), ((1, 2), "[1, 2]"), (None, "None")],
)
def test_values_become_plain_data(value: object, shown: str) -> None:
    text = lazy_gettext("it is {value}", value=value)
    assert text == f"it is {shown}"
    msgspec.msgpack.encode(pack(text))


def test_numbers_of_numpy_become_plain_data() -> None:
    numpy = pytest.importorskip("numpy")
    text = lazy_gettext("{value:.1f} s", value=numpy.float64(1.25))
    assert text == "1.2 s"
    assert type(text.values["value"]) is float


def test_text_with_an_error_among_its_values_translates_it() -> None:
    inner = ByzerError(lazy_gettext("{alias} is deployed.", alias="m"), lazy_gettext("Try again."))
    assert (
        BadRequest(lazy_gettext("{one} and {two}", one=inner, two="b")).localized()
        == "m is deployed.\nTry again. and b"
    )
    with using("zh"):
        assert BadRequest(lazy_gettext("{one} and {two}", one=inner, two="b")).localized() == "b和m 已部署。\n请重试。"


@pytest.mark.parametrize("data", [["only"], ["a", "b", 3], [1, "", {}], {"a": 1}, 5, None])
def test_unpack_returns_other_data_as_it_is(data: object) -> None:
    assert unpack(data) == data
