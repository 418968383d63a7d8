"""Characters that web pages, word processors and input methods put in place of those of a command.

None of them is read as what was probably meant: the same character may be meant in a prompt. The error names it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Collection

from byzer_magic.errors import CommandError, nearest
from byzer_magic.i18n import join, lazy_gettext as _

SPACES = "\x0b\x0c\x85\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""White space of web pages, for a character class; it separates words as a space does."""
INVISIBLE = "\u200b\u2060\ufeff"
"""Characters without a width, for a character class; they are no part of a word."""

_DASHES = {"\u2014": _("an em dash"), "\u2013": _("an en dash"), "\u2212": _("a minus sign")}
_OTHER_DASHES = "\u00ad\u2010\u2011\u2012\u2015\u2e3a\u2e3b\ufe58\ufe63\uff0d"
_FLAG = re.compile(rf"([-{''.join(_DASHES)}{_OTHER_DASHES}]+)([A-Za-z][\w-]*)(?:=.*)?", re.DOTALL)
_CURLY = re.compile("[\u2018\u2019\u201c\u201d\u201e\u201f]")
_MARKED = re.compile("[\u300c\u300e\u00ab\u2039\uff07].*[\u300d\u300f\u00bb\u203a\uff07]", re.DOTALL)
_QUOTED = re.compile("[\u2018\u201c\u201d\u201e\uff02].*[\u2019\u201c\u201d\uff02]", re.DOTALL)
ENTITY = re.compile(r"&(?:quot|apos|amp|lt|gt|nbsp|[lr][sd]quo|[mn]dash|#x?[0-9a-fA-F]+);")
"""A character in the HTML of a page."""
_WIDE = re.compile("[\uff01-\uff5e]")


def is_flag(word: str, names: Collection[str]) -> bool:
    """Return whether a word is the flag of one of these options, but for its dashes.

    Example:
        >>> is_flag("\N{EM DASH}model", {"model"}), is_flag("--model", {"model"}), is_flag("a-model", {"model"})
        (True, False, False)
    """
    match = _FLAG.fullmatch(word)
    return match is not None and match[1] != "--" and match[2].replace("-", "_") in names


def looks_like_flag(word: str) -> bool:
    """Return whether a word begins as a flag, but for its dashes."""
    match = _FLAG.fullmatch(word)
    return match is not None and match[1] != "--"


def wrong_dash(word: str, names: Collection[str]) -> CommandError:
    """Return the error for a word that looks like a flag.

    Args:
        word: the word, for which `looks_like_flag` is true.
        names: the options of its command.

    Example:
        >>> print(wrong_dash("\N{EM DASH}model", ["model"]))
        '—model' begins with an em dash, not with two hyphens.
        Write --model; web pages turn two hyphens into a dash.
    """
    match = _FLAG.fullmatch(word)
    dashes, name = match.group(1, 2) if match else ("", word)
    odd = dashes.strip("-")[:1]
    if odd:
        kind = _DASHES.get(odd) or _("a dash of another kind")
    else:
        kind = _("one hyphen") if len(dashes) == 1 else _("{count} hyphens", count=len(dashes))
    flag = f"--{nearest(name.replace('-', '_'), names) or name}"
    hint = (
        _("Write {flag}; web pages turn two hyphens into a dash.", flag=flag) if odd else _("Write {flag}.", flag=flag)
    )
    shown = word.partition("=")[0]
    return CommandError(_("{word!r} begins with {kind}, not with two hyphens.", word=shown, kind=kind), hint)


def explain(text: str) -> str:
    """Return a hint that names the odd characters of a text that is not understood, or an empty text.

    Example:
        >>> str(explain("saas.model\N{FULLWIDTH EQUALS SIGN}gpt-4o"))
        '＝ is a full-width character: write =.'
    """
    if text.strip() in ("^", "`"):
        return _("{sign} continues a line on Windows only: end the line with \\.", sign=text.strip())
    found = [explain_quotes(text)]
    if wide := _WIDE.search(text):
        plain = unicodedata.normalize("NFKC", wide[0])
        found.append(_("{sign} is a full-width character: write {plain}.", sign=wide[0], plain=plain))
    if entity := ENTITY.search(text):
        plain = html.unescape(entity[0]).replace("\u00a0", " ")
        found.append(_("{sign} is the HTML for a character: write {plain!r}.", sign=entity[0], plain=plain))
    if hidden := next((character for character in text if unicodedata.category(character) == "Cf"), None):
        found.append(
            _("It contains an invisible character (U+{code}): type the text again.", code=f"{ord(hidden):04X}")
        )
    return join(*found) if any(found) else ""


def explain_quotes(text: str) -> str:
    """Return a hint about the curly quotation marks in a text, or an empty text; it shows nothing of the text."""
    return _("\u201c and \u201d are curly quotation marks: write straight ones.") if _CURLY.search(text) else ""


def check_quotes(name: str, value: str) -> None:
    """Check that a value that is not prose has no quotation marks of a text around it.

    Raises:
        CommandError: it has.

    Example:
        >>> check_quotes("saas.model", "\u201cgpt-4o\u201d")
        Traceback (most recent call last):
        byzer_magic.errors.CommandError: saas.model has curly quotation marks around its value.
        Write straight ones, or none.
    """
    if _QUOTED.fullmatch(value):
        raise CommandError(
            _("{name} has curly quotation marks around its value.", name=name), _("Write straight ones, or none.")
        )
    if _MARKED.fullmatch(value):
        raise CommandError(
            _("{name} has the quotation marks {marks} around its value.", name=name, marks=value[0] + value[-1]),
            _("Write straight ones, or none."),
        )
