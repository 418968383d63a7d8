"""What msgspec says about a body that it cannot read, in the user's language."""

from __future__ import annotations

import re

from byzer_magic.i18n import Text, gettext, lazy_gettext as _

WRONG_TYPE = re.compile(r"Expected `(?P<wanted>[^`]+)`, got `(?P<found>[^`]+)`")
TOO_LONG = re.compile(r"Expected `array` of length <= (?P<most>\d+)")
MALFORMED = re.compile(r"JSON is malformed: (?P<what>.+) \(byte (?P<at>\d+)\)")
FIXED: dict[str, Text] = {
    str(text): text
    for text in (
        _("Input data was truncated"), _("invalid character"), _("trailing characters"), _("invalid number"),
        _("object keys must be strings"), _("trailing comma in object"), _("trailing comma in array"),
        _("expected ',' or '}'"), _("expected ',' or ']'"), _("expected ':'"), _("invalid escape character in string"),
    )
}  # fmt: skip


def said(err: object) -> str:
    """Return what an error of msgspec says.

    Example:
        >>> said("Expected `str`, got `int`")
        'Expected `str`, got `int`'
    """
    text = str(err)
    if found := WRONG_TYPE.fullmatch(text):
        return gettext("Expected `{wanted}`, got `{found}`", **found.groupdict())
    if found := TOO_LONG.fullmatch(text):
        return gettext("Expected at most {most} items", most=found["most"])
    if found := MALFORMED.fullmatch(text):
        what = FIXED.get(found["what"])
        return gettext(
            "JSON is malformed: {what} (byte {at})", what=what.translated() if what else found["what"], at=found["at"]
        )
    return FIXED[text].translated() if text in FIXED else text
