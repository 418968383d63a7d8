"""Prompts with names of columns in them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st

from byzer_magic.data.template import NotAskable, Template
from byzer_magic.errors import CommandError

NAMES = ["text", "review text", "0", "a.b", "stars", "twice", "twice"]


@given(st.text(), st.text())
def test_template_puts_any_text_into_its_place(before: str, cell: str) -> None:
    quoted = before.replace("{", "{{").replace("}", "}}")
    filled = Template(quoted + "{text}!", ["text"]).fill([cell])
    assert filled == before + cell + "!"


def test_template_names_columns_of_any_name_and_nothing_else() -> None:
    template = Template("{review text} {0} {a.b} {0}", NAMES)
    assert template.names == ("review text", "0", "a.b")
    assert template.fill(["x", 1, "y"]) == "x 1 y 1"
    with pytest.raises(CommandError, match=r"\{text.__class__\}, which is not a column"):
        Template("{text.__class__}", NAMES)


@pytest.mark.parametrize("cell", [None, float("nan"), np.datetime64("NaT")])
def test_template_asks_nothing_about_a_missing_cell(cell: object) -> None:
    with pytest.raises(NotAskable, match="The cell in column text is missing"):
        Template("{text}", NAMES).fill([cell])


def test_template_writes_cells_that_are_no_texts() -> None:
    template = Template("{text}", ["text"])
    cells = [4, 2.5, True, np.int64(7), ["a", {"b": None}], np.array([1, 2]), "\ud83d", 10**30]
    assert [template.fill([cell]) for cell in cells] == [
        "4", "2.5", "True", "7", '["a", {"b": null}]', "[1, 2]", "�", str(10**30),
    ]  # fmt: skip
    with pytest.raises(NotAskable, match="binary data"):
        template.fill([b"RIFF"])


def test_template_takes_formats_and_says_which_cell_has_none() -> None:
    template = Template("{stars:.1f} {text!r}", NAMES)
    assert template.fill([4, "x"]) == "4.0 'x'"
    assert Template("{stars:05.1f} {text:>3}", NAMES).fill(["4", "x"]) == "004.0   x", "cells of CSV files are texts"
    with pytest.raises(NotAskable, match="column stars cannot be written as"):
        template.fill(["many", "x"])


@pytest.mark.parametrize(
    ("prompt", "message", "hint"),
    [
        ("{txet}", r"\{txet\}, which is not a column", "Did you mean text"),
        ("{twice}", "2 columns have that name", "Rename"),
        ('{"label": 1}', "not a column", r"Write \{\{ and \}\}"),
        ("{", "cannot be read", r"Write \{\{"),
        ("{}", "not a column", r"Write \{\{"),
    ],
)
def test_template_error_says_what_to_do(prompt: str, message: str, hint: str) -> None:
    with pytest.raises(CommandError, match=message) as caught:
        Template(prompt, NAMES)
    assert hint.replace("\\", "") in str(caught.value.hint)


def test_template_leaves_json_as_it_is_in_double_braces() -> None:
    wanted = {"label": "x", "why": {"n": 1}}
    quoted = json.dumps(wanted).replace("{", "{{").replace("}", "}}")
    assert json.loads(Template(quoted, []).fill([])) == wanted
