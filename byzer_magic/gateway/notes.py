"""What a user may not have meant: names of models that are not deployed."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from byzer_magic.errors import ByzerError, ConfigError
from byzer_magic.gateway.deployments import served
from byzer_magic.gateway.keys import Key, KeyFile
from byzer_magic.i18n import gettext as _

if TYPE_CHECKING:
    from byzer_magic.client.manager import Manager


def missing(manager: Manager, names: str | None, keys: KeyFile, name: str = "") -> list[str]:
    """Return a sentence for each name of a model that is not deployed, if only for now; none where nobody knows.

    Args:
        manager: knows what is deployed.
        names: the option ``--served_model_name``.
        keys: the stored keys.
        name: of the only key to look at; empty for all.
    """
    aliases = served(names)
    found: list[Key] = []
    with contextlib.suppress(ConfigError):  # said where they are needed
        found = [key for key in keys.read() if key.models and name in ("", key.name)]
    if not (aliases or found):
        return []
    try:
        deployed = {stat.model for stat in manager.run(manager.stats())}
    except ByzerError:
        return []
    return [*_not_deployed(aliases or {}, deployed), *_not_served(found, deployed if aliases is None else aliases)]


def _not_deployed(aliases: Mapping[str, str], deployed: Collection[str]) -> Iterator[str]:
    for name, alias in aliases.items():
        if _base(alias) not in deployed:
            yield _("Note: {name} is served, but {alias} is not deployed.", name=name, alias=alias)


def _not_served(keys: Iterable[Key], names: Collection[str]) -> Iterator[str]:
    for key in keys:
        for model in key.models:
            if model not in names and _base(model) not in names:
                yield _("Note: the key {key} may use {model}, which is not served.", key=key.name, model=model)


def _base(name: str) -> str:
    """Return the alias of a name, which may have the LoRA adapter of a deployment behind it."""
    return name.partition(":")[0]
