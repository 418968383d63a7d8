"""Any spec as a line is parsed as the same spec."""

from __future__ import annotations

import functools
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import assume, example, given, settings, strategies as st

from byzer_magic.commands import yaml_file
from byzer_magic.commands.options import Option, Spec, options_of
from byzer_magic.commands.parser import HelpRequested, build, line, parse, parse_chat, split, split_block
from byzer_magic.commands.spec import COMMANDS, EASY_COMMANDS, ChatSpec, DeploySpec, EasyChatSpec
from byzer_magic.errors import CommandError

PLACEHOLDER = re.compile(r"<[^<>]+>")
HARD = ["", " ", "-", "--", "-h", "--help", "--model", "--model=x", "--a b", "${X}", "k=${a b}", "${", "}", "'", '"']
HARD += [
    "it's",
    'say "hi"',
    "a=b=c",
    "\\",
    "a\\\nb",
    "a\nb",
    "# x",
    "模型",
    "\u00a0",
    "a  b",
    "***",
    "-1",
    "{{x}}",
    "!x",
    "[a",
    "b]",
]

any_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
texts = (st.sampled_from(HARD) | any_text | st.text("-= '\"\\${}ab\n", max_size=10)).filter(
    lambda text: not PLACEHOLDER.fullmatch(text)
)
names = texts.map(lambda text: text.replace("=", "")).filter(bool)


def values(opt: Option) -> st.SearchStrategy[Any]:
    """Values that the option allows."""
    if opt.name == "file":  # parse replaces it with the file's options
        return st.none()
    if opt.complete == "alias":  # an empty one names no deployment
        return texts.filter(str.strip)
    if opt.choices:
        return st.sampled_from(list(opt.choices))
    numbers = {
        "int": st.integers(min_value=int(opt.minimum or 0), max_value=min(10**9, int(opt.maximum))),
        "float": st.floats(min_value=opt.minimum, allow_nan=False, allow_infinity=False),
        "duration": st.floats(min_value=opt.minimum, max_value=10**8),  # in seconds
        "bool": st.booleans(),
        "params": st.dictionaries(names, texts, max_size=4),
        "texts": st.lists(texts, max_size=3).map(tuple),
    }
    found = numbers.get(opt.kind, texts)
    several = opt.several and opt.kind in ("int", "float")
    return found | st.lists(found, min_size=2, max_size=3).map(tuple) if several else found


@functools.cache
def specs(cls: type[Spec]) -> st.SearchStrategy[Any]:
    """Specs of a command; made once, since the choices of `--infer_backend` are searched for among all packages."""
    options = options_of(cls)
    required = {opt.name: values(opt) for opt in options if opt.required}
    optional = {opt.name: values(opt) for opt in options if not opt.required}
    return st.fixed_dictionaries(required, optional=optional).map(lambda fields: cls(**fields))


@pytest.mark.parametrize("cls", [*COMMANDS.values(), *EASY_COMMANDS.values()], ids=lambda cls: cls.__name__)
@given(data=st.data())
@settings(deadline=None)  # the first spec of a deployment looks for engines of other packages
def test_line_keeps_every_spec(cls: type[Spec], data: st.DataObject) -> None:
    spec = data.draw(specs(cls))
    assert parse(split(line(spec))) == spec


@given(specs(DeploySpec))
@settings(deadline=None)
@example(DeploySpec(model="\x85", infer_params={"\xa0": "", "a": "\u3000", "\u2003b": "c: d"}))
def test_yaml_file_keeps_every_deployment(spec: DeploySpec) -> None:
    options = [getattr(spec, opt.name) for opt in options_of(spec)]
    assume(not {"", "null", "~"} & {text for text in options if isinstance(text, str)})  # there: not given
    assume(not any(str(text).startswith("ENV") for text in (*options, *spec.infer_params.values())))  # a variable there
    assert build(DeploySpec, yaml_file.read(DeploySpec, yaml_file.write(spec), "a.yml")) == spec


@given(specs(ChatSpec).filter(lambda spec: spec.query != ""))
@example(ChatSpec(model="m", query="'--reset' is a flag"))
@example(ChatSpec(model="", system="--", temperature=0.0))
def test_chat_line_keeps_every_spec(spec: ChatSpec) -> None:
    assert parse_chat(line(spec).removeprefix("%chat")) == spec


@given(st.lists(specs(DeploySpec) | specs(EasyChatSpec), max_size=3))
@settings(deadline=None)
def test_split_block_returns_as_many_commands_as_lines(several: list[Spec]) -> None:
    assert [parse(split(text)) for text in split_block("\n".join(map(line, several)))] == several


pasted = st.text(max_size=40) | st.lists(
    st.sampled_from(["deploy ", "stat ", "--model ", "--replace", "x", "'", '"', "\\", "\n", " ", "```", "# ", "a=1 "]),
    max_size=15,
).map("".join)


@given(pasted)
def test_parse_of_any_text_is_commands_or_a_clear_error(text: str) -> None:
    with suppress(CommandError, HelpRequested):
        assert all(isinstance(parse(split(part), read_file=lambda _: text), Spec) for part in split_block(text))


@given(pasted)
def test_parse_chat_of_any_text_is_a_prompt_or_a_clear_error(text: str) -> None:
    with suppress(CommandError, HelpRequested):
        assert parse_chat(f"m : {text}").query == f": {text}"


@given(st.text(max_size=40) | st.text("ab:-[]{}&*!\n '#|>", max_size=30))
def test_yaml_file_of_any_text_is_options_or_a_clear_error(text: str) -> None:
    with suppress(CommandError):
        assert isinstance(parse(["deploy", "--model", "m", "--file", "f"], read_file=lambda _: text), DeploySpec)
