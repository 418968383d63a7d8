"""Errors in the words of clients: with the name under which a deployment is served, in place of its alias."""

from __future__ import annotations

from typing import Any

from byzer_magic.errors import ByzerError
from byzer_magic.i18n import Text

NAMED = ("alias", "name")
"""The values of our texts that are aliases."""


def with_name(err: ByzerError, alias: str, name: str) -> ByzerError:
    """Return an error that names a deployment as its client does; a client need not know the alias.

    Args:
        err: what a request has raised.
        alias: of the deployment.
        name: what the client calls it.

    Example:
        >>> from byzer_magic.errors import WorkerLost
        >>> from byzer_magic.i18n import lazy_gettext
        >>> print(with_name(WorkerLost(lazy_gettext("{name} does not respond.", name="a")), "a", "gpt-4o"))
        gpt-4o does not respond.
    """
    if name != alias:
        err.message, err.hint = (_renamed(text, alias, name) for text in (err.message, err.hint))
        err.args = (err.message,)
    return err


def _renamed(text: Any, alias: str, name: str) -> Any:
    if not isinstance(text, Text):
        return text
    values = {
        key: name if key in NAMED and value == alias else _renamed(value, alias, name)
        for key, value in text.values.items()
    }
    return Text(text.template, text.plural, values)
