"""What an alias can be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given, strategies as st

from byzer_magic.commands.aliases import LONGEST, check
from byzer_magic.commands.parser import parse, parse_chat, split, split_block
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import CommandError
from byzer_magic.magics.columns import names
from byzer_magic.plan import resolve
from byzer_magic.runtime.cluster import discovery
from byzer_magic.runtime.transport.protocol import Endpoint

SEED = Path(__file__).parents[2] / "seed_commands.tsv"


@pytest.mark.parametrize(
    ("alias", "problem", "suggestion"),
    [
        ("a,b", "a comma, which separates models", "a_b"),
        ("a\uff0cb", "a comma, which separates models", "a_b"),
        ("a b", "white space", "a_b"),
        (" a", "white space", "a"),
        ("a\n", "white space", "a"),
        ("a\u00a0b", "white space", "a_b"),
        ("a\u3000b", "white space", "a_b"),
        ("it's", "a quotation mark", "it_s"),
        ('"a"', "a quotation mark", "a"),
        ("\u201ca\u201d", "a quotation mark", "a"),
        ("\u300ca\u300d", "a quotation mark", "a"),
        ("\u300ea\u300f", "a quotation mark", "a"),
        ("\u00aba\u00bb", "a quotation mark", "a"),
        ("\u201ea\u201c", "a quotation mark", "a"),
        ("a\\b", "a backslash", "a_b"),
        ("`a`", "a quotation mark", "a"),
        ("${MODEL}", "not expanded", "MODEL"),
        ("a\0", "cannot be seen", "a"),
        ("a\u200bb", "cannot be seen", "a_b"),
        ("\ufeffa", "cannot be seen", "a"),
        ("a\ud83d", "cannot be seen", "a"),
        ("--model", "a dash at its beginning", "model"),
        ("-a", "a dash at its beginning", "a"),
        ("\u2014a", "a dash at its beginning", "a"),
        ("..", "only dots", ""),
        (".", "only dots", ""),
        ("a" * 200, "more than 128 characters", "a" * 128),
    ],
)
def test_an_alias_that_no_command_takes_is_refused_with_one_that_works(
    alias: str, problem: str, suggestion: str
) -> None:
    with pytest.raises(CommandError) as caught:
        check(alias)
    assert problem in str(caught.value.message)
    assert str(caught.value.hint) == (f"Use {suggestion}, for example." if suggestion else "Use letters, digits and _.")
    if suggestion:
        check(suggestion)


@pytest.mark.parametrize("alias", ["", " ", "\u3000", "\n"])
def test_an_empty_alias_is_empty(alias: str) -> None:
    with pytest.raises(CommandError, match=r"^The alias is empty"):
        check(alias)


@pytest.mark.parametrize(
    "alias",
    ["gpt4o_chat", "\u6a21\u578b", "\u901a\u4e49\u5343\u95ee-72B", "qwen2.5:7b", "openai/gpt-4o", "a.b", "a@b", "a+b",
     "7b", "caf\u00e9", "\u30e2\u30c7\u30eb", "\U0001f680", "a-b", "_", ".hidden", "a" * LONGEST, "\u6a21" * LONGEST],
)  # fmt: skip
def test_an_alias_that_works_is_accepted(alias: str, tmp_path: Path) -> None:
    check(alias)
    assert names(alias) == [alias]
    discovery.announce(tmp_path, alias, Endpoint("", "127.0.0.1", 1, "t", "node", 1))
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_all_aliases_of_the_guide_are_accepted() -> None:
    commands = [row.split("\t")[2] for row in SEED.read_text(encoding="utf-8").splitlines()[1:]]
    aliases = re.findall(r"--(?:model|alias) (\S+)", "\n".join(commands))
    assert len(aliases) >= 28
    for alias in aliases:
        check(alias)


@given(st.text(max_size=8) | st.text("ab-,. '\"\\\u2014\uff0c${}:/#@%!", max_size=8))
@example("#a")
@example("%a")
@example("!a")
@example("a=b")
def test_an_accepted_alias_is_a_word_of_every_command(alias: str) -> None:
    try:
        check(alias)
    except CommandError:
        return
    assert names(alias) == [alias]
    assert parse(split(f"stat --model {alias}")).model == alias  # type: ignore[attr-defined]
    assert parse(split(split_block(f"stat --model {alias}")[0])).model == alias  # type: ignore[attr-defined]
    assert parse(split(f"easy chat {alias} hello")).model == alias  # type: ignore[attr-defined]
    found = parse_chat(f"{alias} hello")
    assert (found.model, found.query) == (alias, "hello")
    assert names(parse_chat(f"{alias},another hello").model) == [alias, "another"]


def test_a_deployment_is_refused_before_anything_else_is_looked_at() -> None:
    with pytest.raises(CommandError, match=r"^The alias is empty"):
        resolve(DeploySpec(model="", pretrained_model_type="saas/nothing"), {}, {})
    with pytest.raises(CommandError, match=r"^The alias is empty"):
        resolve(parse(split("deploy --model '' --pretrained_model_type saas/openai")), {}, {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "command", ["stat --model ''", "query --model= --query x", "easy chat '' hi", "undeploy --model ' '"]
)
def test_commands_name_an_empty_alias(command: str) -> None:
    with pytest.raises(CommandError, match=r"^--model is empty"):
        parse(split(command))


def test_names_of_several_models_take_the_comma_of_a_chinese_keyboard() -> None:
    assert names("a\uff0cb, c") == ["a", "b", "c"]
