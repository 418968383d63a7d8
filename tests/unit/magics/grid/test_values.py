"""What a grid varies: lists as they are typed, names that fit the prompt, every combination once."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, strategies as st

from byzer_magic.commands.parser import line, parse_chat
from byzer_magic.commands.spec import ChatSpec
from byzer_magic.errors import CommandError
from byzer_magic.magics.grid import values
from byzer_magic.results.grid import Combination

NOTEBOOK: dict[str, Any] = {"countries": ("France", "Japan"), "word": "France", "x": {"a": 1}}


def axes(first_line: str, prompt: str = "{{country}}", models: int = 1) -> values.Axes:
    return values.axes(parse_chat(first_line), prompt, models, NOTEBOOK)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("[France,Japan]", ["France", "Japan"]),
        ("[New York, Rio de Janeiro]", ["New York", "Rio de Janeiro"]),
        ("[法国，日本]", ["法国", "日本"]),
        ("[1,2.5,-3]", [1, 2.5, -3]),
        ("[2.1,2.10,007,1e3]", [2.1, "2.10", "007", "1e3"]),
        ('["a, b", "c"]', ["a, b", "c"]),
        ("[a,1,2.10]", ["a", 1, "2.10"]),
        ("countries", ["France", "Japan"]),
        ("countries[:1]", ["France"]),
        ("range(3)", [0, 1, 2]),
        ("[word.upper()]", ["word.upper()"]),
    ],
)
def test_values_are_read_as_typed(typed: str, found: list[Any]) -> None:
    assert values.values("country", typed, NOTEBOOK) == found


def test_list_in_brackets_may_have_spaces_and_the_prompt_follows() -> None:
    item = parse_chat("a,b --grid country=[New York, Rio] tone=[plain,poetic] --temperature 0,0.7 Tell = {{country}}")
    assert item.grid == {"country": "[New York, Rio]", "tone": "[plain,poetic]"}
    assert item.temperature == (0.0, 0.7)
    assert item.query == "Tell = {{country}}"
    item = parse_chat("a --grid country=[New York, Rio] What about {{country}} [sic]?")
    assert item.query == "What about {{country}} [sic]?"
    assert parse_chat(line(item).removeprefix("%chat ")) == item


@given(
    st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(), unique=True, min_size=1, max_size=3), max_size=3),
    st.lists(st.floats(0, 2), unique_by=str, min_size=2, max_size=3),
    st.integers(1, 3),
)
def test_axes_have_every_combination_once(variables: dict[str, list[int]], heats: list[float], samples: int) -> None:
    grid = {name: str(found) for name, found in variables.items()}
    item = ChatSpec(model="m", grid=grid, temperature=tuple(heats), samples=samples)
    made = values.axes(item, " ".join(f"{{{{{name}}}}}" for name in variables), 1, {})
    found = made.combinations()
    expected = [
        (*chosen, heat, sample)
        for chosen in itertools.product(*variables.values())
        for heat in heats
        for sample in range(samples)
    ]
    assert [(*one.variables.values(), one.options["temperature"], one.sample) for one in found] == expected
    assert made.count == len(found)


def test_fields_of_the_request_can_be_varied() -> None:
    item = parse_chat("m --grid params.seed=[1,2] --params top_p=0.5 --temperature 0.2 --max_tokens 10,20")
    asked = values.axes(item, "hi", 1, {}).combinations()[-1]
    assert asked == Combination({}, {"seed": 2, "max_tokens": 20}, 0)
    assert values.request_options(item, asked) == {"top_p": 0.5, "temperature": 0.2, "seed": 2, "max_tokens": 20}


def test_variables_of_the_grid_come_before_those_of_the_notebook() -> None:
    asked = Combination({"country": "Japan"})
    assert values.filled("{{country.upper()}} {{word}} \\{{x}}", asked, {**NOTEBOOK, "country": "France"}) == (
        "JAPAN France {{x}}"
    )


@pytest.mark.parametrize(
    ("first_line", "prompt", "message"),
    [
        ("m --grid country=[]", "{{country}}", "no values"),
        ("m --grid country=[France,]", "{{country}}", "empty"),
        ("m --grid country=[France", "{{country}}", "not closed"),
        ("m --grid country=France", "{{country}}", "nor a variable of this notebook"),
        ("m --grid country=word", "{{country}}", "a str and not a list"),
        ("m --grid country=x", "{{country}}", "a dict and not a list"),
        ("m --grid country=1/0", "{{country}}", "ZeroDivisionError"),
        ("m --grid country=[a,b,a]", "{{country}}", "twice"),
        ("m --grid country='[1,\"1\"]'", "{{country}}", "twice"),
        ("m --temperature 0,0", "hi", "twice"),
        ("m --grid country=[a,b]", "about {{contry}}", "does not use the variable country"),
        ("m --grid country=[a,b]", "about \\{{country}}", "does not use the variable country"),
        ("m --grid text=[a,b]", "{{text}}", "column of the result"),
        ("m --grid temperature=[0,1]", "{{temperature}}", "is an option"),
        ("m --grid a-b=[a,b]", "{{a}}", "not a variable name"),
        ("m --grid params.seed=[1,2] --params seed=3", "hi", "given twice"),
        ("m --grid params.cost=[1,2]", "hi", "column of the result"),
        ("m --grid country=range(1001)", "{{country}}", "more than 1,000"),
        ("m --grid country=iter(int,1)", "{{country}}", "twice"),
    ],
)
def test_axes_refuse_what_cannot_be_meant(first_line: str, prompt: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        axes(first_line, prompt)


def test_axes_count_all_models() -> None:
    line = "m --grid country=range(400)"
    assert axes(line, models=2).count == 400
    with pytest.raises(CommandError, match=r"1,200 requests"):
        axes(line, models=3)


def test_misspelled_variable_is_suggested() -> None:
    with pytest.raises(CommandError) as caught:
        axes("m --grid contry=[a,b]", "about {{country}}")
    assert "country" in caught.value.hint


@pytest.mark.parametrize("more", ["--session s", "--schema int", "--tools f", "--audio rec"])
def test_check_refuses_what_does_not_go_with_a_grid(more: str) -> None:
    with pytest.raises(CommandError, match="does not go with a grid"):
        values.check(parse_chat(f"m --samples 2 {more}"))
