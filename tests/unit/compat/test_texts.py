"""Small functions on texts."""

from __future__ import annotations

import json
from typing import Any

import pydantic
import pytest

from byzer_magic.compat import texts


class Person(pydantic.BaseModel):
    name: str


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("\n```shell\nls -l\n```\n", [("shell", "ls -l")]),
        ("```\nx\n```\nand\n``` python \ny = 1\nz\n```", [("", "x"), ("python", "y = 1\nz")]),
        ("no code", [("unknown", "no code")]),
        (None, [("unknown", "")]),
        ([{"type": "text", "text": "```a\nb\n```"}, {"type": "image_url"}], [("a", "b")]),
    ],
)
def test_extract_code_returns_blocks_with_their_language(text: Any, codes: list[tuple[str, str]]) -> None:
    assert texts.extract_code(text) == codes


def test_extract_code_finds_code_in_lines() -> None:
    assert texts.extract_code("Run `ls`:\n```sh\npwd\n```", detect_single_line_code=True) == [("sh", "pwd"), ("", "ls")]
    assert texts.get_target_codes([("sh", "pwd"), ("", "ls")], ["sh"]) == ["pwd"]


def test_to_model_reads_one_or_several() -> None:
    assert texts.to_model('```json\n{"name": "Ann"}\n```', Person) == Person(name="Ann")
    assert texts.to_model('[{"name": "Ann"}]', Person) == [Person(name="Ann")]
    with pytest.raises(ValueError, match="no JSON"):
        texts.to_model("Ann", Person)


def test_function_is_told_as_json() -> None:
    def age(name: str, year: int = 0) -> int:
        """Return somebody's age."""
        return year

    found = json.loads(texts.serialize_function_to_json(age))
    assert (found["name"], found["description"]) == ("age", "Return somebody's age.")
    assert found["parameters"]["required"] == ["name"]


def test_small_functions() -> None:
    def hello(name: str) -> None:
        """Hello {{ name }}{{ unknown }}"""

    assert texts.format_prompt_jinja2(hello, name="Ann") == "Hello Ann"
    assert texts.format_str_jinja2("{{ a }}{{ b }}", a=1) == "1"
    assert texts.get_value_from_llm_str('```json\n{"k": 2}\n```', "k", 0) == 2
    assert texts.get_value_from_llm_str("x", "k", 0) == 0
    assert (texts.infer_lang("import os\n"), texts.infer_lang("pip install x"), texts.infer_lang("hello")) == (
        "python", "sh", "unknown",
    )  # fmt: skip
    assert len(texts.random_uuid()) == 32
