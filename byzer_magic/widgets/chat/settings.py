"""The settings of a chat window, and what its model accepts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from byzer_magic.actions.actions import options_in
from byzer_magic.capabilities import Capability
from byzer_magic.commands.spec import ChatSpec
from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.widgets.chat.turns import Turn, media_of


def settings_in(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request fields in the settings.

    Raises:
        CommandError: a setting is invalid.
    """
    pairs = str(content.get("more") or "").split()
    if wrong := next((pair for pair in pairs if "=" not in pair), None):
        raise CommandError(_("{what} is not key=value.", what=wrong))
    return options_in(
        ChatSpec(
            model="-",
            temperature=_number(content, "temperature", _("Temperature"), float),
            max_tokens=_number(content, "max_tokens", _("Max tokens"), int),
            params=dict(pair.split("=", 1) for pair in pairs),
        )
    )


def _number(content: Mapping[str, Any], name: str, label: str, kind: Callable[[Any], Any]) -> Any:
    text = str(content.get(name) or "").strip()
    try:
        return kind(text) if text else None
    except ValueError as err:
        raise CommandError(_("{label}: {text} is not a valid number.", label=label, text=text)) from err


def check(turn: Turn, capabilities: frozenset[Capability], models: Mapping[str, Sequence[str]]) -> None:
    """Reject images and audio that the model does not accept.

    Raises:
        CommandError: the model does not accept them; the hint names those that do.
    """
    found = media_of(turn.prompt)
    images = Capability.VISION in capabilities or Capability.IMAGE in capabilities
    if any(item.is_image for item in found) and not images:
        raise CommandError(_("{alias} does not accept images.", alias=turn.alias), _others("vision", models))
    if any(not item.is_image for item in found) and Capability.TRANSCRIBE not in capabilities:
        raise CommandError(_("{alias} does not accept audio.", alias=turn.alias), _others("transcribe", models))


def _others(capability: str, models: Mapping[str, Sequence[str]]) -> str:
    names = listed(name for name, can in models.items() if capability in can)
    return _("Choose a model that does: {names}.", names=names) if names else ""
