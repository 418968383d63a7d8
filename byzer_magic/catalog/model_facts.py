"""The capabilities of models, by name, and which models are retired: the rows of model_facts.toml."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from importlib import resources
from typing import Any

from byzer_magic.capabilities import Capability
from byzer_magic.errors import BadParameter, suggest
from byzer_magic.i18n import Text, join, lazy_gettext as _, listed


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """One row of model_facts.toml."""

    match: str
    """Shell patterns for names in lower case, separated by spaces; what precedes a last slash in a name is ignored."""
    capabilities: frozenset[Capability]
    retired_by: str = ""
    """The provider that retired the model or will."""
    retired: str = ""
    """The day, as an ISO date, where the provider names one."""
    successors: tuple[str, ...] = ()
    """Models that the provider names in its place."""
    current: tuple[str, ...] = ()
    """Current models of the provider, where it names no successor."""
    other_api: tuple[str, ...] = ()
    """Successors that are called by another API."""
    at_risk: bool = False
    """Whether the provider's documentation is gone while its API still responded."""
    source: str = ""
    checked: str = ""
    """When the facts were looked up, as an ISO date."""

    @property
    def note(self) -> str:
        """Return what a user should know before deploying the model: its retirement with the successor, or a risk."""
        if self.at_risk:
            return _(
                "At risk: the provider's documentation is gone; its API still responded on {day}.", day=self.checked
            )
        return join(self._retirement(), self._successor()) if self.retired_by else ""

    def _retirement(self) -> Text:
        if not self.retired:
            return _("{provider} no longer offers this model.", provider=self.retired_by)
        if date.fromisoformat(self.retired) <= datetime.now(UTC).date():
            return _("{provider} retired this model on {day}.", provider=self.retired_by, day=self.retired)
        return _("{provider} will retire this model on {day}.", provider=self.retired_by, day=self.retired)

    def _successor(self) -> str:
        if self.successors:
            return _("Successor: {names}.", names=listed(self.successors))
        if self.other_api:
            return _("Successor (uses a different API): {names}.", names=listed(self.other_api))
        return _("Current models: {names}.", names=listed(self.current)) if self.current else ""

    def matches(self, name: str) -> bool:
        """Return whether the row is about this model.

        Example:
            >>> facts("gpt-4o").matches("openai/GPT-4o-mini")
            True
        """
        short = name.lower().rpartition("/")[2]
        return any(fnmatchcase(short, pattern) for pattern in self.match.split())


@functools.cache
def load() -> tuple[ModelFacts, ...]:
    """Return the rows in the order of the file: the first that matches counts."""
    text = resources.files("byzer_magic.catalog").joinpath("model_facts.toml").read_text(encoding="utf-8")
    return tuple(_facts(row) for row in tomllib.loads(text)["model"])


def _facts(row: dict[str, Any]) -> ModelFacts:
    names = {name: tuple(value) for name, value in row.items() if isinstance(value, list)}
    return ModelFacts(**row | names | {"capabilities": frozenset(map(Capability, row["capabilities"]))})


def facts(name: str) -> ModelFacts:
    """Return what is known about a model; the last row matches every name: an unknown model has the chat capability.

    Example:
        >>> sorted(facts("text-embedding-3-small").capabilities)
        [<Capability.EMBED: 'embed'>]
    """
    return next(row for row in load() if row.matches(name))


def capabilities(name: str, stated: str | None = None) -> frozenset[Capability]:
    """Return what a model can do.

    Args:
        name: the provider's name of the model.
        stated: capabilities separated by commas; when given, they count instead of the name.

    Raises:
        BadParameter: a stated capability does not exist.

    Example:
        >>> sorted(capabilities("my-model", stated="chat, vision"))
        [<Capability.CHAT: 'chat'>, <Capability.VISION: 'vision'>]
    """
    if not stated:
        return facts(name).capabilities
    words = [word.strip() for word in stated.split(",") if word.strip()]
    for word in words:
        if word not in list(Capability):
            hint = suggest(word, Capability, _("Choose from: {names}.", names=listed(Capability)))
            raise BadParameter(_("saas.capabilities has {name!r}, which is not a capability.", name=word), hint)
    return frozenset(map(Capability, words))
