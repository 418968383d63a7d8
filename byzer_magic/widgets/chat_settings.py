"""What people set in a chat window's drawer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from byzer_magic.actions import options_in
from byzer_magic.errors import CommandError
from byzer_magic.spec import ChatSpec


def settings_in(content: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    """Return the request fields that the drawer says.

    Raises:
        CommandError: something in it cannot be understood.
    """
    pairs = str(content.get("more") or "").split()
    if wrong := next((pair for pair in pairs if "=" not in pair), None):
        raise CommandError(words["wrong_setting"].format(what=wrong))
    return options_in(
        ChatSpec(
            model="-",
            temperature=_number(content, "temperature", float, words),
            max_tokens=_number(content, "max_tokens", int, words),
            params=dict(pair.split("=", 1) for pair in pairs),
        )
    )


def _number(content: Mapping[str, Any], name: str, kind: Callable[[Any], Any], words: Mapping[str, str]) -> Any:
    text = str(content.get(name) or "").strip()
    try:
        return kind(text) if text else None
    except ValueError as err:
        raise CommandError(words["wrong_number"].format(what=f"{words[name]}: {text}")) from err
