"""What HTTP headers can have: keys, and whatever else is sent in one, are checked where they are given.

A header has printable ASCII (https://www.rfc-editor.org/rfc/rfc9110#section-5.5; other bytes are obsolete there, and
each HTTP library treats them in its own way). A key that was copied from a page, a chat or an editor may have more.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from byzer_magic.commands import copied
from byzer_magic.errors import BadParameter, ByzerError
from byzer_magic.i18n import lazy_gettext as _

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NO_HEADER = re.compile(r"[^\x20-\x7e]")
_INVISIBLE = "Cf"
"""Unicode's category of zero-width spaces, joiners, marks of direction and the byte order mark."""
_QUOTATION_MARKS = ("Pi", "Pf")
_SPACE = "Zs"
_LINE_BREAKS = "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"


def trimmed(text: str) -> str:
    r"""Return a text without white space and invisible characters at its ends.

    Example:
        >>> trimmed(" \ufeffsk-1\u200b\n")
        'sk-1'
    """
    first, last = 0, len(text)
    while first < last and _is_blank(text[first]):
        first += 1
    while first < last and _is_blank(text[last - 1]):
        last -= 1
    return text[first:last]


def _is_blank(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) == _INVISIBLE


def checked(text: str, name: str, error: type[ByzerError] = BadParameter) -> str:
    r"""Return a text as it is sent in a header: without white space and invisible characters at its ends.

    Args:
        text: the value as given; it is in no error.
        name: the setting, for errors.
        error: the class of the errors raised.

    Raises:
        ByzerError: no header can have it; the first such character is named by its position.

    Example:
        >>> checked("sk-1\n", "saas.api_key")
        'sk-1'
        >>> checked("sk-1\u201d", "saas.api_key")
        Traceback (most recent call last):
        byzer_magic.errors.BadParameter: saas.api_key has a character that no HTTP header can have (position 5).
        It is a curly quotation mark: remove it.
    """
    text = trimmed(text)
    if found := _NO_HEADER.search(text):
        message = _(
            "{name} has a character that no HTTP header can have (position {position}).",
            name=name,
            position=found.start() + 1,
        )
        raise error(message, _hint(found[0]))
    return text


def _hint(character: str) -> str:
    category = unicodedata.category(character)
    if character in _LINE_BREAKS:
        return _("It is a line break: give the value in one line.")
    if category in _QUOTATION_MARKS:
        return _("It is a curly quotation mark: remove it.")
    if category == _INVISIBLE:
        return _("It is an invisible character: copy the value again, or type it.")
    if category == _SPACE:
        return _("It is a space of a web page: remove it.")
    return _("Only letters, digits and signs of ASCII can be sent: copy the value again from its source.")


def checked_key(text: str, name: str) -> str:
    """Return a key as it is sent in a header; one that was given with more than the key is refused.

    Args:
        text: the key as given; it is in no error.
        name: the setting, for errors.

    Raises:
        BadParameter: it has more than the key, or a character that no header can have.

    Example:
        >>> checked_key("Bearer sk-1", "saas.api_key")
        Traceback (most recent call last):
        byzer_magic.errors.BadParameter: saas.api_key begins with Bearer, which is added when it is sent.
        Give the key alone.
    """
    text = checked(text, name)
    copied.check_key(text, name)
    return text


def checked_all(given: Mapping[str, Any], name: str, error: type[ByzerError] = BadParameter) -> dict[str, str]:
    """Return headers as they are sent; numbers become their digits.

    Args:
        given: values by name, as they come from JSON.
        name: the setting, for errors.
        error: the class of the errors raised.

    Raises:
        ByzerError: a name or a value is not one of a header; the header is named.

    Example:
        >>> checked_all({"X-Team": 7}, "saas.extra_headers")
        {'X-Team': '7'}
    """
    found: dict[str, str] = {}
    for header, value in given.items():
        bare = trimmed(str(header))
        if not _NAME.fullmatch(bare):
            raise error(
                _("{name}: {header!r} is not the name of an HTTP header.", name=name, header=header[:40]),
                _("Names have letters, digits and hyphens, such as X-Title."),
            )
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise error(
                _("{name}: the value of {header} is not a text.", name=name, header=bare), _("Put it in quotes.")
            )
        found[bare] = checked(str(value), f"{name} ({bare})", error)
    return found
