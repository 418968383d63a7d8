"""Text to words, and pasted cells to commands."""

from __future__ import annotations

import pytest

from byzer_magic.commands.options import Spec
from byzer_magic.commands.parser import parse, split, split_block
from byzer_magic.commands.spec import (
    QuerySpec,
)
from byzer_magic.errors import CommandError

KEY = "sk-planted0123456789"


def run(text: str) -> Spec:
    return parse(split(text))


def refused(text: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        run(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a 'b c' \"d e\"", ["a", "b c", "d e"]),
        ("a \\\n  b", ["a", "b"]),
        ("a \\  \r\nb", ["a", "b"]),
        ("a # b", ["a", "#", "b"]),
        ('k=${MODEL A\'s "key"} b', ['k=${MODEL A\'s "key"}', "b"]),
        ("'${A}' \"${B}\"", ["${A}", "${B}"]),
        ("'${' '}'", ["${", "}"]),
        ("""j='{"a": [1, "b"]}'""", ['j={"a": [1, "b"]}']),
        ("a \\ --b", ["a", "--b"]),
        ("a\u00a0b\u3000c '\u00a0'", ["a", "b", "c", "\u00a0"]),
        ("'a \\\nb'", ["a \\\nb"]),
        ('"a \\\nb"', ["a b"]),
        ("", []),
    ],
)
def test_split_returns_words(text: str, words: list[str]) -> None:
    assert split(text) == words


def test_split_names_an_open_quote() -> None:
    with pytest.raises(CommandError, match="not closed: query --query it's") as caught:
        split("query --query it's")
    assert "double quotes" in caught.value.hint


def test_split_hides_the_key_in_an_open_quote() -> None:
    with pytest.raises(CommandError) as caught:
        split("easy deploy x --token planted-key-1 --infer_params saas.api_key=planted-key-2 'open")
    assert "planted-key" not in str(caught.value)


def test_split_block_ends_commands_at_blank_lines_fences_and_new_commands() -> None:
    assert split_block("```bash\nlist\n```\n\nstat\nlist --json\n") == ["list", "stat", "list --json"]


def test_split_block_of_an_empty_block_is_empty() -> None:
    assert split_block("\n# nothing\n") == []


def test_split_block_skips_a_flag_that_is_commented_out() -> None:
    assert split_block("deploy --model a \\\n# --num_workers 2 \\\n--replace") == ["deploy --model a --replace"]


def test_split_block_continues_after_a_backslash_and_a_blank_line() -> None:
    assert split_block("stat \\\n\n--model a") == ["stat --model a"]


def test_split_block_rejects_a_flag_after_a_blank_line() -> None:
    with pytest.raises(CommandError, match="does not belong to a command: --model a") as caught:
        split_block("stat\n\n--model a")
    assert caught.value.hint == "Remove the blank line before it."


def test_split_block_rejects_a_flag_without_a_command() -> None:
    with pytest.raises(CommandError, match="does not belong to a command: --model a") as caught:
        split_block("# a comment\n--model a")
    assert caught.value.hint == "Write a command before it, e.g. deploy."


def test_split_block_takes_quoted_values_of_several_lines() -> None:
    (text,) = split_block('query --model a --query "one\n\nlist two"\n')
    assert parse(split(text)) == QuerySpec(model="a", query="one\n\nlist two")


def test_split_block_rejects_an_open_quote() -> None:
    with pytest.raises(CommandError, match="not closed: query"):
        split_block('query --model a --query "one\nlist')


def test_split_block_suggests_the_nearest_command() -> None:
    with pytest.raises(CommandError, match="not a command: deplyo --model a") as caught:
        split_block("deplyo --model a")
    assert caught.value.hint.startswith("Did you mean deploy? Commands: deploy, undeploy")


def test_split_block_explains_a_lost_backslash() -> None:
    with pytest.raises(CommandError) as caught:
        split_block("deploy --infer_params a=1\nb=2")
    assert r"end that line with \." in caught.value.hint
