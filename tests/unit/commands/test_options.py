"""Options: conversion, and which hold secrets."""

from __future__ import annotations

from typing import Any

import pytest

from byzer_magic.backends.base import Param
from byzer_magic.commands.options import Option, Setting, convert, is_secret_name
from byzer_magic.commands.spec import WhatIfSpec
from byzer_magic.errors import BadParameter, CommandError

KEY = "sk-planted0123456789"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("text", "a b", "a b"),
        ("int", "-3", -3),
        ("float", "1e3", 1000.0),
        ("bool", " Yes ", True),
        ("bool", "off", False),
        ("json", '{"a": [1]}', {"a": [1]}),
    ],
)
def test_convert_reads_each_kind(kind: str, text: str, value: object) -> None:
    assert convert(Option(name="x", help="", kind=kind), text) == value
    assert convert(Param(name="x", help="", kind=kind), text) == value


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("int", "1.5", "x is '1.5', which is not a whole number."),
        ("float", "nan", "x is 'nan', which is not a number."),
        ("float", "inf", "x is 'inf', which is not a number."),
        ("bool", "maybe", "x is 'maybe', which is not true or false."),
        ("json", "{", "x is '{', which is not valid JSON."),
    ],
)
def test_convert_names_the_kind_that_is_expected(kind: str, text: str, words: str) -> None:
    with pytest.raises(BadParameter) as caught:
        convert(Param(name="x", help="", kind=kind), text, error=BadParameter)
    assert caught.value.message == words


def test_convert_suggests_the_nearest_choice_and_hides_secrets() -> None:
    with pytest.raises(CommandError, match="not one of cls, mean") as caught:
        convert(Option(name="pooling", help="", choices=("cls", "mean")), "maen")
    assert caught.value.hint == "Did you mean mean?"
    with pytest.raises(CommandError, match=r"key is \*\*\*, which is not a number"):
        convert(Option(name="key", help="", kind="float", secret=True), KEY)


@pytest.mark.parametrize(
    "name", ["saas.api_key", "APIKEY", "saas.aws_access_key", "a.b.Secret", "access-key", "credential"]
)
def test_is_secret_name_finds_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["saas.max_tokens", "saas.model", "token.limit", "keys", "secret_santa"])
def test_is_secret_name_leaves_other_names(name: str) -> None:
    assert not is_secret_name(name)


def test_convert_names_what_an_input_method_has_changed_but_not_in_a_secret() -> None:
    for kind, text, sign in (
        ("float", "0\uff0c5", "\uff0c"),
        ("json", "{\u201ca\u201d: 1}", "\u201c"),
        ("bool", "\u201ctrue\u201d", "\u201c"),
    ):
        with pytest.raises(CommandError) as caught:
            convert(Setting(name="x", help="", kind=kind), text)
        assert sign in str(caught.value.hint)
        with pytest.raises(CommandError) as caught:
            convert(Setting(name="x", help="", kind=kind, secret=True), text)
        assert not caught.value.hint


def test_convert_refuses_a_thousand_brackets() -> None:
    with pytest.raises(CommandError, match="not valid JSON"):
        convert(Setting(name="x", help="", kind="json"), "[" * 100_000)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_workers": "2"}, "--num_workers is '2', which is not a whole number."),
        ({"num_workers": 1.5}, "--num_workers is 1.5, which is not a whole number."),
        ({"scale_load": float("nan")}, "--scale_load is nan, which is not a number."),
        ({"minutes": [1]}, r"--minutes is \[1\], which is not a number."),
    ],
)
def test_options_from_python_are_checked_like_those_of_a_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        WhatIfSpec(model="m", **given)
