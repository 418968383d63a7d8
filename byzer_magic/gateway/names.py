"""Errors in the words of clients: a deployment has the name under which it is served, and its provider has none."""

from __future__ import annotations

import re
from typing import Any

from byzer_magic import request_ids
from byzer_magic.errors import ByzerError
from byzer_magic.gateway.problems import row_of
from byzer_magic.i18n import Text, lazy_gettext as _, localized
from byzer_magic.log import get_logger, redact

NAMED = ("alias", "name")
"""The values of our texts that are aliases."""
PROVIDER = _("provider")

log = get_logger("gateway")


def with_name(err: ByzerError, alias: str, name: str) -> ByzerError:
    """Return an error as clients see it: without the alias, the provider, and the model there; the log gets them.

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
    if not row_of(err).is_clients:
        log.warning("%s %s: %s", request_ids.CURRENT.get() or "-", alias, redact(str(localized(err.text))))
    err.message, err.hint = (_renamed(text, alias, name) for text in (err.message, err.hint))
    if "provider" in err.details:
        err.message = _without_provider(err.message, name)
    err.args = (err.message,)
    return err


def _renamed(text: Any, alias: str, name: str) -> Any:
    if not isinstance(text, Text) or alias == name:
        return text
    values = {
        key: name if key in NAMED and value == alias else _renamed(value, alias, name)
        for key, value in text.values.items()
    }
    return Text(text.template, text.plural, values)


def _without_provider(text: Any, name: str) -> Any:
    """Return the message of a provider's error without its host and its own name of the model."""
    if not isinstance(text, Text):
        return text
    if "url" in text.values:
        return _("{name} cannot reach its provider.", name=name)
    hidden = {"host": PROVIDER, "model": name}
    known = {word: str(hidden[key]) for key, word in text.values.items() if key in hidden and word}
    values = {key: hidden[key] if key in hidden else _without_words(value, known) for key, value in text.values.items()}
    return Text(text.template, text.plural, values)


def _without_words(value: Any, words: dict[str, str]) -> Any:
    """Return a text with other words for some, as in a sentence of the provider's own."""
    if isinstance(value, Text) or not isinstance(value, str):
        return value
    for word, other in words.items():
        value = re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", lambda _found, other=other: other, value)  # type: ignore[misc]
    return value
