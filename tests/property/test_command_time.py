"""Any text as a command is a spec or a CommandError, in time that grows with its length."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from byzer_magic.commands import yaml_file
from byzer_magic.commands.parser import HelpRequested, complete, line, parse, parse_chat, split, split_block
from byzer_magic.commands.secrets import expand, known_here
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.commands.tokens import shell_words
from byzer_magic.errors import CommandError, MissingKey
from tests.budgets import examples

SECONDS = 10
"""For 1,000 kB; what takes its time with the square of the length takes minutes."""
PIECES = [
    *("a", "'", '"', "\\", " ", "\n", "\\\n", " ^\n", "a ", "'a' ", '"\\', "${", "${a}", "${a", "$", "{", "}", "="),
    *("a=", "a.b=c ", "--", "---", "--image a ", "--a=b ", "--infer_params a=b ", "-", "\u2014model ", "\u201c"),
    *("\uff1d", "&quot;", "<", "<a>", "#", "```\n", "\u00a0", "\u200b", "\u2028", "!byzerllm ", "deploy ", "list\n"),
    *("it's ", "sk-", "token=", "--token ", "1", "0x", "[", '{"a":', "env:", "keyring:a/", "\x85", "\x00", "\ud800"),
    *("模型", "e9", "https:", "https:/a:b", "@"),
]
BEFORE = [
    "",
    "deploy --model m --infer_params saas.model=",
    "deploy --num_workers ",
    "query --model m --query '",
    "%%chat m ",
]
READERS: dict[str, Callable[[str], Any]] = {
    "words": lambda text: parse(split(text)),
    "a cell": split_block,
    "a chat": parse_chat,
    "completion": complete,
    "a file": lambda text: yaml_file.read(DeploySpec, text, "f.yml"),
    "variables": lambda text: expand(text, {"a": "1"}),
    "secrets": lambda text: known_here(text),
}


def read(reader: str, text: str) -> None:
    with suppress(CommandError, HelpRequested, MissingKey):
        READERS[reader](text)


@pytest.mark.parametrize("reader", READERS)
@settings(deadline=None)  # the first spec of a deployment looks for engines of other packages
@given(st.lists(st.sampled_from([*BEFORE, *PIECES]) | st.text(max_size=5), max_size=30).map("".join))
def test_any_text_is_a_command_or_an_error(reader: str, text: str) -> None:
    read(reader, text)


@pytest.mark.parametrize("reader", READERS)
@given(
    before=st.sampled_from(BEFORE),
    piece=st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("".join),
    after=st.sampled_from(["", "'", '"', "\\", "x=", "}"]),
)
@settings(max_examples=examples(12), deadline=None)
def test_the_time_to_read_a_command_grows_with_its_length(reader: str, before: str, piece: str, after: str) -> None:
    for size in (10_000, 100_000):
        text = before + piece * (size // len(piece)) + after
        began = time.process_time()
        read(reader, text)
        if (
            took := time.process_time() - began
        ) > SECONDS * size / 1_000_000:  # much for this size: is it for the next?
            text = before + piece * (10 * size // len(piece)) + after
            began = time.process_time()
            read(reader, text)
            assert time.process_time() - began < 30 * max(took, 0.1), f"{reader}: {before + piece + after!r}"


@given(st.text("ab '\"\\\n\t\r$#={}\x0b\u00e4-", max_size=12))
def test_words_are_those_of_a_shell(text: str) -> None:
    try:
        words = shlex.split(text)
    except ValueError:
        words = None
    assert shell_words(text) == words


@given(st.lists(st.text(max_size=12).filter(lambda text: "\0" not in text), max_size=5))
def test_any_value_survives_a_line(values: list[str]) -> None:
    spec = DeploySpec(model="m", infer_params={f"p{at}": text for at, text in enumerate(values)})
    with suppress(CommandError):  # a placeholder, quotation marks of a text
        assert parse(split(line(spec))) == spec
