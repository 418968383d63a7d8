"""Commands with names of several words, such as `serve keys add`."""

from __future__ import annotations

import pytest

from byzer_magic.commands.parser import HelpRequested, complete, line, parse, split
from byzer_magic.commands.spec import AddKeySpec, ListKeysSpec, ServeSpec
from byzer_magic.errors import CommandError


def test_longest_name_is_the_command() -> None:
    assert isinstance(parse(split("serve")), ServeSpec)
    assert isinstance(parse(split("serve --port 80")), ServeSpec)
    assert isinstance(parse(split("serve keys list")), ListKeysSpec)
    added = parse(split("byzerllm serve keys add alice --days 30"))
    assert isinstance(added, AddKeySpec)
    assert (added.name, added.days) == ("alice", 30.0)
    assert parse(split(line(added))) == added


@pytest.mark.parametrize("text", ["serve keys", "serve keys --help", "serve keys -h", "help serve keys"])
def test_group_alone_shows_its_commands(text: str) -> None:
    with pytest.raises(HelpRequested) as caught:
        parse(split(text))
    assert all(f"serve keys {name}" in str(caught.value) for name in ("add", "list", "revoke"))
    assert "undeploy" not in str(caught.value)


def test_unknown_command_of_a_group_names_the_nearest() -> None:
    with pytest.raises(CommandError) as caught:
        parse(split("serve keys remove alice"))
    assert "serve keys remove" in str(caught.value)
    with pytest.raises(CommandError, match="Did you mean revoke"):
        parse(split("serve keys revok alice"))


def test_word_after_a_command_that_has_a_group_is_an_error() -> None:
    with pytest.raises(CommandError, match="serve does not take 'key'"):
        parse(split("serve key"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("serve keys ", ["add", "list", "revoke"]),
        ("serve keys re", ["revoke"]),
        ("serve keys add --da", ["--days"]),
        ("serve --po", ["--port"]),
        ("ser", ["serve"]),
        ("serve k", ["keys"]),
    ],
)
def test_completion_knows_groups(text: str, words: list[str]) -> None:
    assert complete(text) == words
