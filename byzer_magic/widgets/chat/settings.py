"""What people set in a chat window's drawer, and what its model takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from byzer_magic.actions.actions import options_in
from byzer_magic.capabilities import Capability
from byzer_magic.commands.spec import ChatSpec
from byzer_magic.errors import CommandError
from byzer_magic.widgets.chat.turns import Turn, media_of


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


def check(
    turn: Turn, capabilities: frozenset[Capability], models: Mapping[str, Sequence[str]], words: Mapping[str, str]
) -> None:
    """Refuse pictures and sounds that the model would not take.

    Raises:
        CommandError: there are some; the hint names the models that would take them.
    """
    found = media_of(turn.prompt)
    pictures = Capability.VISION in capabilities or Capability.IMAGE in capabilities
    if any(item.is_image for item in found) and not pictures:
        raise CommandError(words["no_pictures"].format(alias=turn.alias), _others("vision", models, words))
    if any(not item.is_image for item in found) and Capability.TRANSCRIBE not in capabilities:
        raise CommandError(words["no_sounds"].format(alias=turn.alias), _others("transcribe", models, words))


def _others(capability: str, models: Mapping[str, Sequence[str]], words: Mapping[str, str]) -> str:
    names = ", ".join(name for name, can in models.items() if capability in can)
    return words["others"].format(names=names) if names else ""
