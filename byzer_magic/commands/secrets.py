"""Secrets in settings: `${NAME}`, `env:NAME` and `keyring:SERVICE/NAME`, and values that are never shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from byzer_magic.errors import BadParameter, MissingExtra, MissingKey
from byzer_magic.i18n import Text, lazy_gettext as _

REFERENCE = re.compile(r"\$\{([^}]*)\}")
"""A `${NAME}`; a name may be any text without a closing brace, as users type more than shells allow."""

_REFERS = re.compile(r"\$\{[^}]*\}|env:\w+|keyring:.+")


class Secret:
    """A text that every rendering shows as ``***``; `reveal` returns the value.

    Example:
        >>> key = Secret("sk-123")
        >>> print(key, [key], f"{key}")
        *** [***] ***
        >>> key.reveal()
        'sk-123'
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (self._value,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def is_reference(text: str) -> bool:
    """Return whether a text only refers to a value (`${NAME}`, `env:NAME`, `keyring:SERVICE/NAME`).

    Example:
        >>> is_reference("${KEY}"), is_reference("Bearer ${KEY}")
        (True, False)
    """
    return bool(_REFERS.fullmatch(text))


def names_in(text: str) -> list[str]:
    """Return the names that a text refers to, in order.

    Example:
        >>> names_in("${USER}:${PASSWORD}")
        ['USER', 'PASSWORD']
    """
    return REFERENCE.findall(text)


def expand(text: str, *sources: Mapping[str, Any]) -> str:
    """Replace each `${NAME}` in a text with its value; values are not expanded again.

    Args:
        text: the text as typed.
        sources: where names are looked up, the first that has a name wins.

    Raises:
        MissingKey: no source has the name.

    Example:
        >>> expand("Bearer ${KEY}", {"KEY": "k-1"})
        'Bearer k-1'
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        for source in sources:
            if name in source and not _is_missing(source[name]):
                return str(source[name])
        raise MissingKey(_("{name} is not defined.", name=match[0]), _how_to_set(name))

    return REFERENCE.sub(value, text)


def look_up(text: str, *sources: Mapping[str, Any]) -> str:
    """Return the key that `env:NAME` or `keyring:SERVICE/NAME` refers to; any other text is the key itself.

    Args:
        text: the setting as typed.
        sources: where the names of variables are looked up, the first that has a value wins.

    Raises:
        MissingKey: the variable has no value, or the keyring has no such entry.
        MissingExtra: the package `keyring` is not installed.
        BadParameter: a keyring entry is not SERVICE/NAME.

    Example:
        >>> look_up("env:KEY", {"KEY": "k-1"}), look_up("k-2")
        ('k-1', 'k-2')
    """
    kind, colon, name = text.partition(":")
    if colon and kind == "env":
        return _from_variables(name, sources)
    if colon and kind == "keyring":
        return _from_keyring(name)
    return text


def _from_variables(name: str, sources: tuple[Mapping[str, Any], ...]) -> str:
    for source in sources:
        if source.get(name) and not _is_missing(source[name]):
            return str(source[name])
    raise MissingKey(_("{name} is not defined.", name=f"env:{name}"), _how_to_set(name))


def _is_missing(value: Any) -> bool:
    """Return whether a notebook's variable has nothing: the None of `os.environ.get`, a missing cell of a table."""
    return value is None or (isinstance(value, float) and value != value)


def _how_to_set(name: str) -> Text:
    return _(
        "Set it first: %env {name}=... in the notebook, export {name}=... in the shell, or a line in .env.", name=name
    )


def _from_keyring(entry: str) -> str:
    service, slash, name = entry.rpartition("/")
    if not (slash and service and name):
        raise BadParameter(
            _("keyring:{entry} is not a valid keyring entry.", entry=entry), _("Write keyring:SERVICE/NAME.")
        )
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise MissingExtra(
            _("keyring: needs the package keyring, which is not installed."),
            _("Run: pip install 'byzer-magic[keyring]'"),
        ) from None
    try:
        found: str | None = keyring.get_password(service, name)
    except KeyringError as err:  # a server often has none
        raise MissingKey(
            _("No keyring is available here: {error}", error=err), _("Use ${NAME} or env:NAME instead.")
        ) from None
    if not found:
        raise MissingKey(
            _("The keyring has no entry {name!r} for {service!r}.", name=name, service=service),
            _("Store it once: keyring set {service} {name}", service=service, name=name),
        )
    return found
