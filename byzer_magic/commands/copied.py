"""What comes along when a key or a name is copied: its own name, quotes, a comment, the comma of a list.

None of it is taken off, as a value could mean it: it is refused where it is given, not by the provider much later.
"""

from __future__ import annotations

import re

from byzer_magic.commands.typography import ENTITY
from byzer_magic.errors import BadParameter
from byzer_magic.i18n import lazy_gettext as _

_QUOTES = "'\"`"
_ENDS = ",;"
_SET = r"(?:(?:%env|export|set|setx|setenv|let|const|var)\s+|\$env:)"
_KEYLIKE = r"(?=[\w.-]*?(?:key|token|secret|passw))[\w.-]++"
_VARIABLE = r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+"
_NAMED = re.compile(rf"(?:{_SET}\S|(?:(?i:{_KEYLIKE})|{_VARIABLE})\s*=\s*[^\s=])")
"""A name and its value. Base64, too, has `=`, but only at its end."""
_OBJECT = re.compile(r"\{.*\}|\[.*\]", re.DOTALL)
_REFERENCE = re.compile(
    r"<[^<>]*>|\$\{[^{}]*\}|\$[A-Z][A-Z0-9_]*|%[A-Z][A-Z0-9_]*%|(?:os\.environ|os\.getenv|process\.env).+"
)
"""What stands for a key: a guide's placeholder, or a variable in the words of some language."""
_MASKED = re.compile(r"\*{3}|\.{3}")
_SCHEME = re.compile(r"(?:authorization\s*:\s*)?bearer[\s;]\s*\S", re.IGNORECASE)
_ALONE = _("Give the key alone.")


def check_key(text: str, name: str) -> None:
    """Check that a key is given without anything else; all that real keys have passes.

    Args:
        text: the key, without white space at its ends; it is in no error.
        name: the setting, for errors.

    Raises:
        BadParameter: more than a key, or none, is given.

    Example:
        >>> check_key("ABSKQmVkcm9jaw+/==", "saas.api_key")
        >>> check_key("OPENAI_API_KEY=sk-1", "saas.api_key")
        Traceback (most recent call last):
        byzer_magic.errors.BadParameter: saas.api_key contains the name of a variable as well as its value.
        Give the key alone.
    """
    _check_quotes(text, name)
    if _SCHEME.match(text):
        raise BadParameter(_("{name} begins with Bearer, which is added when it is sent.", name=name), _ALONE)
    if _REFERENCE.fullmatch(text):
        raise BadParameter(_("{name} is a placeholder, not a key.", name=name), _("Replace it with the key itself."))
    if _OBJECT.fullmatch(text):
        raise BadParameter(_("{name} is JSON or a list, not a key.", name=name), _ALONE)
    if _NAMED.match(text):
        raise BadParameter(_("{name} contains the name of a variable as well as its value.", name=name), _ALONE)
    if blank := re.search(r"\s", text):
        raise BadParameter(
            _("{name} has a space in it (position {position}).", name=name, position=blank.start() + 1),
            _("Remove the comment after the key.")
            if text[blank.start() :].lstrip().startswith(("#", "//"))
            else _ALONE,
        )
    _check_ends(text, name)
    if _MASKED.search(text):
        raise BadParameter(
            _("{name} is a masked key: a part of it is hidden.", name=name),
            _("Copy the complete key, or create a new one if it is shown only once."),
        )


def check_name(text: str, name: str) -> None:
    """Check that a name, such as that of a model, is given without anything else.

    Args:
        text: the name, without white space at its ends.
        name: the setting, for errors.

    Raises:
        BadParameter: it is empty, or has a quotation mark or a comma at one of its ends.

    Example:
        >>> check_name("gpt-4o,", "saas.model")
        Traceback (most recent call last):
        byzer_magic.errors.BadParameter: saas.model ends with a comma or a semicolon.
        Remove it.
    """
    if not text:
        raise BadParameter(_("{name} is empty.", name=name), _("Specify a value."))
    _check_quotes(text, name)
    _check_ends(text, name)


def _check_quotes(text: str, name: str) -> None:
    first, last = text[:1], text[-1:]
    if first == last and len(text) > 1 and first in _QUOTES:
        raise BadParameter(
            _("{name} has quotes around it.", name=name),
            _("Remove them; %env NAME=value takes the value without quotes."),
        )
    if text and (first in _QUOTES or last in _QUOTES):
        raise BadParameter(_("{name} has a quotation mark at one end.", name=name), _("Remove it."))
    entity = ENTITY.match(text) or next((found for found in ENTITY.finditer(text) if found.end() == len(text)), None)
    if entity:
        raise BadParameter(
            _("{name} contains {entity}, the HTML for a character.", name=name, entity=entity[0]), _("Remove it.")
        )


def _check_ends(text: str, name: str) -> None:
    if text[-1:] and text[-1] in _ENDS:
        raise BadParameter(_("{name} ends with a comma or a semicolon.", name=name), _("Remove it."))
