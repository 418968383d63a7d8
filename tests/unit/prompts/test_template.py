"""The text of a prompt function."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given, strategies as st

from byzer_magic.errors import CommandError
from byzer_magic.prompts.template import dedented, render


def story(items: list[str]) -> None:
    """
    Tell a story.
      {% for item in items %}
      - {{ item }}
      {% endfor %}
    """


def beside(name: str) -> None:
    """Hello {{ name }}!

    How are you?
    """


def nothing() -> None: ...


def test_render_fills_the_docstring_in() -> None:
    assert "- a cat" in render(story, {"items": ["a cat"]})
    assert render(beside, {"name": "Ann"}) == "Hello Ann!\n\nHow are you?"


def test_render_puts_values_in_as_they_are() -> None:
    assert render(beside, {"name": "{{ 7 * 7 }} <b>"}).startswith("Hello {{ 7 * 7 }} <b>!")


def test_render_names_a_value_that_is_missing() -> None:
    with pytest.raises(CommandError, match="'name' is undefined") as caught:
        render(beside, {})
    assert "beside" in caught.value.hint
    assert render(beside, {}, strict=False).startswith("Hello !")


def test_render_refuses_a_function_without_a_prompt_and_a_broken_template() -> None:
    def broken() -> None:
        """{% if %}"""

    with pytest.raises(CommandError, match="nothing has no docstring"):
        render(nothing, {})
    with pytest.raises(CommandError, match="broken is not a valid Jinja template"):
        render(broken, {})


@given(st.text(alphabet=" \tab\n", min_size=1).filter(str.strip))
def test_dedented_keeps_every_word(text: str) -> None:
    assert dedented(text).split() == text.split() == inspect.cleandoc(text).split()
