"""Templates with their values, translated by gettext when they are shown.

The standard library's gettext translates at once and keeps no values; `Text` is what lets an error that is raised in
one process be read in the language of another.
"""

from __future__ import annotations

import functools
import gettext as stdlib_gettext
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from byzer_magic.i18n.language import LOCALE_DIR, language, language_of

DOMAIN = "byzer_magic"


class Text(str):
    """A text that can still be translated; as a `str` it is the English text, complete with its values."""

    template: str
    plural: str
    """The template for counts other than one, chosen by the value `count`; empty when there is only one form."""
    values: Mapping[str, Any]

    def __new__(cls, template: str, plural: str = "", values: Mapping[str, Any] | None = None) -> Text:
        """Fill in the values; `count` among them chooses between `template` and `plural`."""
        plain = {name: _plain(value) for name, value in (values or {}).items()}
        self = super().__new__(cls, _filled(_english(template, plural, plain), plain))
        self.template, self.plural, self.values = template, plural, plain
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Text, (self.template, self.plural, dict(self.values))

    def translated(self, name: str = "") -> str:
        """Return the text in a language, by default the active one; English where the catalog lacks it."""
        catalog = _catalog(language_of(name) if name else language())
        if self.plural:
            found = catalog.ngettext(self.template, self.plural, self.values["count"])
        else:
            found = catalog.gettext(self.template) if self.template else ""  # "" is the catalog's own header
        return _filled(found, {key: localized(value, name) for key, value in self.values.items()})


def _plain(value: Any) -> Any:
    """Return a value that msgpack carries: objects become their text."""
    if isinstance(value, str | int | float) or value is None:
        return value
    return str(value) if isinstance(value, PurePath | BaseException) or not isinstance(value, list | tuple) else value


def _english(template: str, plural: str, values: Mapping[str, Any]) -> str:
    return plural if plural and values["count"] != 1 else template


def _filled(template: str, values: Mapping[str, Any]) -> str:
    return template.format(**values) if values else template


@functools.cache
def _catalog(name: str) -> stdlib_gettext.NullTranslations:
    return stdlib_gettext.translation(DOMAIN, LOCALE_DIR, [name], fallback=True)


def lazy_gettext(template: str, /, **values: Any) -> Text:
    """Return a text to be translated when it is shown.

    Example:
        >>> text = lazy_gettext("{alias} is already deployed.", alias="gpt4o")
        >>> str(text)
        'gpt4o is already deployed.'
    """
    return Text(template, "", values)


def lazy_ngettext(singular: str, plural: str, /, count: int, **values: Any) -> Text:
    """Return a text to be translated when it is shown, in the form for `count` things.

    Example:
        >>> str(lazy_ngettext("{count} request", "{count} requests", count=2))
        '2 requests'
    """
    return Text(singular, plural, {"count": count, **values})


def gettext(template: str, /, **values: Any) -> str:
    """Return a text in the active language.

    Example:
        >>> gettext("{count} texts", count=3)
        '3 texts'
    """
    return Text(template, "", values).translated()


def ngettext(singular: str, plural: str, /, count: int, **values: Any) -> str:
    """Return a text in the active language, in the form for `count` things.

    Example:
        >>> ngettext("{count} worker", "{count} workers", count=1)
        '1 worker'
    """
    return Text(singular, plural, {"count": count, **values}).translated()


def localized(value: Any, name: str = "") -> Any:
    """Return a `Text` translated (to the active language when `name` is empty), and any other value as it is.

    Example:
        >>> localized("plain text")
        'plain text'
    """
    return value.translated(name) if isinstance(value, Text) else value


def join(*parts: str, separator: str = " ") -> Text:
    """Return texts as one that can still be translated; empty parts are left out.

    Example:
        >>> str(join(lazy_gettext("It is full."), "", lazy_gettext("Try again.")))
        'It is full. Try again.'
    """
    kept = {f"part{index}": part for index, part in enumerate(parts) if part}
    return Text(separator.join(f"{{{name}}}" for name in kept), "", kept)


def pack(text: str) -> Any:
    """Return a text as plain data for msgpack; `unpack` restores it, templates included."""
    if not isinstance(text, Text):
        return text
    return [text.template, text.plural, {name: pack(value) for name, value in text.values.items()}]


def unpack(data: Any) -> Any:
    """Restore what `pack` made.

    Example:
        >>> unpack(pack(lazy_gettext("{count} texts", count=3))).template
        '{count} texts'
    """
    if not (isinstance(data, list) and len(data) == 3 and isinstance(data[2], dict)):
        return data
    template, plural, values = data
    return Text(template, plural, {name: unpack(value) for name, value in values.items()})
