"""Where keys are kept: a value that says `env:NAME` or `keyring:SERVICE/NAME` is looked up there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byzer_magic.errors import BadParameter, MissingExtra, MissingKey


def looked_up(text: str, *sources: Mapping[str, Any]) -> str:
    """Return the key that `text` names, or `text` itself where it names no place.

    Raises:
        MissingKey: there is nothing in that place.
        MissingExtra: the package `keyring` is not installed.
        BadParameter: a keyring entry is not SERVICE/NAME.
    """
    place, colon, name = text.partition(":")
    if colon and place == "env":
        return _from_variables(name, sources)
    if colon and place == "keyring":
        return _from_keyring(name)
    return text


def _from_variables(name: str, sources: tuple[Mapping[str, Any], ...]) -> str:
    for source in sources:
        if source.get(name):
            return str(source[name])
    hint = f"Set it first: %env {name}=... in the notebook, export {name}=... in the shell, or a line in .env."
    raise MissingKey(f"env:{name} is not defined.", hint)


def _from_keyring(entry: str) -> str:
    service, slash, name = entry.rpartition("/")
    if not (slash and service and name):
        raise BadParameter(f"keyring:{entry} is no entry of a keyring.", "Write keyring:SERVICE/NAME.")
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise MissingExtra(
            "keyring: needs the package keyring, which is not installed.", "Run: pip install 'byzer-magic[keyring]'"
        ) from None
    try:
        found: str | None = keyring.get_password(service, name)
    except KeyringError as err:  # a server often has none
        raise MissingKey(f"No keyring can be read here: {err}", "Use ${NAME} or env:NAME instead.") from None
    if not found:
        raise MissingKey(f"The keyring has no {name!r} of {service!r}.", f"Store it once: keyring set {service} {name}")
    return found
