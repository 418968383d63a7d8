"""Templates with their values, translated by gettext when they are shown.

The standard library's gettext translates at once and keeps no values; `Text` is what lets an error that is raised in
one process be read in the language of another.
"""

from __future__ import annotations

import functools
import gettext as stdlib_gettext
import re
import string
from collections.abc import Iterable, Mapping
from typing import Any

from byzer_magic.i18n.language import LOCALE_DIR, language, language_of

DOMAIN = "byzer_magic"
_SENTENCES = re.compile(r"\{part\d+\}( \{part\d+\})+")
"""The template of `join` with its usual separator."""
_SPEC = re.compile(r"0?[.,]?\d?\d?[a-z%]?")
"""How a field of a template is formatted: at most 99 wide."""
LONGEST = 4_000_000
"""Characters in all of a text from another process, with its values filled in."""
_FULL_WIDTH = ("。", "！", "？", "；", "：", "…", "”", "）")
"""Punctuation that has no space after it."""
_ENDS = (*".!?:;…", "。", "！", "？", "；", "：")
"""How sentences end, before what may close them."""
_CLOSING = "\"')]}”’）」"
_FIELD_AT_END = ("}.", "}。")
_TWO_STOPS = re.compile(r"(?<=[\w)\]'\"`])[.。](?=[.。]\Z)")
_CHINESE = re.compile(r"[\u3400-\u9fff]")


class Text(str):
    """A text that can still be translated; as a `str` it is the English text, complete with its values.

    Concatenation (`+`) keeps the translation. An f-string and the methods of `str` do not: they return plain English.

    Example:
        >>> text = Text("{count} texts", "", {"count": 3})
        >>> text.template, str(text)
        ('{count} texts', '3 texts')
    """

    template: str
    plural: str
    """The template for counts other than one, chosen by the value `count`; empty when there is only one form."""
    values: Mapping[str, Any]

    def __new__(cls, template: str, plural: str = "", values: Mapping[str, Any] | None = None) -> Text:
        """Fill in the values; `count` among them chooses between `template` and `plural`."""
        plain = {name: _plain(value) for name, value in (values or {}).items()}
        self = super().__new__(cls, _filled(_english(template, plural, plain), plain))
        self.template, self.plural, self.values = str(template), str(plural), plain
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Text, (self.template, self.plural, dict(self.values))

    def __add__(self, other: str) -> Text:
        return join(self, other, separator="")

    def __radd__(self, other: str) -> Text:
        return join(other, self, separator="")

    def translated(self, name: str = "") -> str:
        """Return the text in a language, by default the active one; English where the catalog lacks it.

        Example:
            >>> lazy_gettext("Unknown command {name}.", name="depoly").translated("zh")
            '未知命令 depoly。'
        """
        catalog = _catalog(language_of(name) if name else language())
        if self.plural:
            found = catalog.ngettext(self.template, self.plural, _whole(self.values["count"]))
        else:
            found = catalog.gettext(self.template) if self.template else ""  # "" is the catalog's own header
        values = {key: localized(value, name) for key, value in self.values.items()}
        if _SENTENCES.fullmatch(found):
            return _sentences(values.values())
        try:
            return _filled(found, values)
        except (KeyError, IndexError, ValueError, AttributeError):  # a catalog of another version
            return _filled(_english(self.template, self.plural, self.values), values)


def _plain(value: Any) -> Any:
    """Return a value as one that msgpack carries: an error becomes its text, other objects become theirs."""
    if isinstance(value, Text) or value is None or type(value) in (int, float, bool):
        return value
    if type(value) is str:  # names of files may have bytes that no terminal shows
        return value if value.isascii() else value.encode(errors="replace").decode()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    for kind in (str, int, float):  # an enum's member or a number of numpy
        if isinstance(value, kind):
            return _plain(kind(value))
    if isinstance(value, BaseException):
        texts = [getattr(value, "text", None), *value.args[:1]]  # of a ByzerError; of any other error
        return next((text for text in texts if isinstance(text, Text)), _plain(str(value)))
    return _plain(str(value))


def _whole(count: float) -> int:
    """Return a count for catalogs, which take whole numbers only; a fraction has the form of several."""
    return count if isinstance(count, int) else 1 if count == 1 else 2


def _english(template: str, plural: str, values: Mapping[str, Any]) -> str:
    return plural if plural and values["count"] != 1 else template


def _sentences(parts: Iterable[str]) -> str:
    """Return sentences with a space between two, unless the first ends in Chinese punctuation."""
    return functools.reduce(lambda text, part: text + ("" if text.endswith(_FULL_WIDTH) else " ") + part, parts)


def _filled(template: str, values: Mapping[str, Any]) -> str:
    """Return a template with its values; a sentence of another that ends it, full stop included, ends with one."""
    if not values:
        return template
    found = template.format(**values)
    return _TWO_STOPS.sub("", found) if template.endswith(_FIELD_AT_END) else found


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


def lazy_ngettext(singular: str, plural: str, /, count: float, **values: Any) -> Text:
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
    found = _catalog(language()).gettext(template) if template else ""  # "" is the catalog's own header
    return _filled(found, {name: localized(_plain(value)) for name, value in values.items()})


def ngettext(singular: str, plural: str, /, count: float, **values: Any) -> str:
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

    Args:
        parts: texts, plain ones among them.
        separator: what is between two; may be a text to be translated, too.

    Example:
        >>> str(join(lazy_gettext("It is full."), "", lazy_gettext("Try again.")))
        'It is full. Try again.'
    """
    kept = {f"part{index}": part for index, part in enumerate(parts) if part}
    between, values = ("{separator}", {"separator": separator}) if isinstance(separator, Text) else (separator, {})
    return Text(between.join(f"{{{name}}}" for name in kept), "", kept | values)


def sentences(*parts: str) -> str:
    """Return texts in the active language as sentences in one line: each has an end, as a provider's text need not.

    Example:
        >>> sentences("Server disconnected", "", "Try again.")
        'Server disconnected. Try again.'
    """
    return _sentences([_ended(text) for part in parts if (text := " ".join(str(localized(part)).split()))])


def _ended(text: str) -> str:
    if text.rstrip(_CLOSING).endswith(_ENDS):
        return text
    return text + ("。" if _CHINESE.search(text[-1:]) else ".")


def listed(items: Iterable[str]) -> Text:
    """Return items as one text, separated as the reader's language does: `a, b`, in Chinese `a、b`.

    Example:
        >>> str(listed(["vllm", "llama_cpp"]))
        'vllm, llama_cpp'
    """
    return join(*items, separator=lazy_gettext(", "))


def pack(text: str) -> Any:
    """Return a text as plain data for msgpack; `unpack` restores it, templates included.

    Example:
        >>> pack(lazy_gettext("{count} texts", count=3))
        ['{count} texts', '', {'count': 3}]
    """
    if not isinstance(text, Text):
        return text
    return [text.template, text.plural, {name: pack(value) for name, value in text.values.items()}]


def encode_text(value: Any) -> Any:
    """Return a text as `pack` does; the `enc_hook` of msgspec's encoders, which call it for what they do not know.

    Raises:
        NotImplementedError: the value is no translatable text; msgspec takes that for "cannot be encoded".

    Example:
        >>> encode_text(lazy_gettext("{count} texts", count=3))[0]
        '{count} texts'
    """
    if isinstance(value, Text):
        return pack(value)
    raise NotImplementedError(type(value).__name__)


def unpack(data: Any) -> Any:
    """Restore what `pack` made; what only looks like it stays as it is.

    Example:
        >>> unpack(pack(lazy_gettext("{count} texts", count=3))).template
        '{count} texts'
        >>> unpack(["{count:999999999}", "", {"count": 3}])
        ['{count:999999999}', '', {'count': 3}]
    """
    return _Unpacking().value(data)


class _Unpacking:
    """Texts from another process, which may be damaged, or made to fill this one: `{a:999999999}`, or nested a lot."""

    def __init__(self) -> None:
        self._room = LONGEST

    def value(self, data: Any) -> Any:
        match data:
            case [str(template), str(plural), dict(values)]:
                try:
                    return self._text(template, plural, values)
                except (LookupError, ValueError, TypeError, RecursionError):
                    return data
        return data

    def _text(self, template: str, plural: str, values: dict[str, Any]) -> Text:
        """Return a text.

        Raises:
            ValueError: a field is not like those of our templates, or the texts become too long.
            LookupError: a field has no value.
        """
        values = {name: self.value(value) for name, value in values.items()}
        for text in (template, plural) if values else ():
            for literal, name, spec, _conversion in string.Formatter().parse(text):
                self._room -= len(literal)
                if name is not None:
                    if not (name.isidentifier() and _SPEC.fullmatch(spec or "")):
                        raise ValueError(name)
                    self._room -= len(str(values[name]))
                if self._room < 0:
                    raise ValueError(name)
        if plural and not isinstance(values["count"], int | float):
            raise TypeError(plural)
        return Text(template, plural, values)
