"""Help texts, made from the specs."""

from __future__ import annotations

import pytest

from byzer_magic.commands.options import Spec, options_of
from byzer_magic.commands.parser import HelpRequested, help_text, parse, parse_chat, split
from byzer_magic.commands.spec import (
    COMMANDS,
    EASY_COMMANDS,
)
from byzer_magic.errors import CommandError
from byzer_magic.i18n import using


def run(text: str) -> Spec:
    return parse(split(text))


@pytest.mark.parametrize("text", ["--help", "-h", "help", "", "byzerllm"])
def test_help_lists_every_command(text: str) -> None:
    with pytest.raises(HelpRequested) as caught:
        run(text)
    for name in (*COMMANDS, *(f"easy {name}" for name in EASY_COMMANDS)):
        assert f"  {name} " in str(caught.value)


@pytest.mark.parametrize("name", [*COMMANDS, *(f"easy {name}" for name in EASY_COMMANDS)])
def test_help_of_a_command_has_its_options(name: str) -> None:
    with pytest.raises(HelpRequested) as caught:
        run(f"{name} --help")
    cls = EASY_COMMANDS[name.removeprefix("easy ")] if name.startswith("easy ") else COMMANDS[name]
    for opt in options_of(cls):
        assert opt.help in str(caught.value)


def test_help_text_is_in_the_active_language() -> None:
    with using("zh"):
        assert "部署的别名，在集群中唯一（必填）" in help_text("deploy")


def test_help_of_chat() -> None:
    with pytest.raises(HelpRequested, match="Usage: %%chat"):
        parse_chat("--help")


def test_help_of_an_unknown_command_gives_the_nearest() -> None:
    with pytest.raises(CommandError, match="Did you mean deploy"):
        help_text("deplyo")
