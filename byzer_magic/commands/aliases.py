"""What an alias can be: what every command that names a deployment can have as its word.

The rule is for new deployments only: one of an older version keeps its alias, and all commands still take that.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator

from byzer_magic import errors
from byzer_magic.commands.secrets import REFERENCE
from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _

LONGEST = 128
"""Characters of an alias."""
MOST_COLONS = 4
"""Colons at which a name is read as an alias and an adapter: others send names, and each reading takes time."""
ADAPTER = ":"
"""Before the name of a LoRA adapter, after the alias of its deployment."""
SEPARATOR = re.compile("[,\uff0c]")
"""What separates aliases in `%%chat a,b`: a comma, also that of a Chinese keyboard."""

_SPACE = re.compile(r"\s")
_QUOTE = re.compile("[\"'`\\\\\u2018-\u201f\u00ab\u00bb\u2039\u203a\u300c-\u300f\uff02\uff07]")
_DASHES = "Pd"
_PROBLEMS = (
    (SEPARATOR, _("a comma, which separates models in %%chat a,b")),
    (_SPACE, _("white space, at which an alias ends")),
    (_QUOTE, _("a quotation mark or a backslash, which a command reads as its own")),
    (REFERENCE, _("a reference to a variable, which is not expanded here")),
)


def check(alias: str) -> None:
    """Check that an alias is a word that all commands take.

    Args:
        alias: of a deployment that is to be made.

    Raises:
        CommandError: it is not; the character is named, and an alias that works is suggested.

    Example:
        >>> check("a,b")
        Traceback (most recent call last):
        byzer_magic.errors.CommandError: The alias 'a,b' has a comma, which separates models in %%chat a,b.
        Use a_b, for example.
    """
    if not alias.strip():
        raise CommandError(_("The alias is empty."), _("Give a name, such as --model gpt4o_chat."))
    if problem := _problem(alias):
        near = _near(alias)
        hint = _("Use {alias}, for example.", alias=near) if near else _("Use letters, digits and _.")
        raise CommandError(_("The alias {alias!r} has {problem}.", alias=alias[:LONGEST], problem=problem), hint)


def readings(name: str) -> Iterator[tuple[str, str]]:
    """Yield what a name of a model may mean, the likeliest first: an alias, and a LoRA adapter.

    An alias may have a colon itself, so that the name as a whole comes first.

    Example:
        >>> list(readings("qwen:pirate"))
        [('qwen:pirate', ''), ('qwen', 'pirate')]
    """
    yield name, ""
    places = [place for place in range(1, len(name) - 1) if name[place] == ADAPTER]
    for place in reversed(places[:MOST_COLONS]):
        yield name[:place], name[place + 1 :]


def near(name: str, known: Collection[str]) -> str:
    """Return the known alias that a name is nearest to, with the adapter of the name; an empty text where none is.

    Example:
        >>> near("qwem:pirate", ["qwen", "qwen:poet"]), near("qwen:poem", ["qwen", "qwen:poet"])
        ('qwen:pirate', 'qwen:poet')
    """
    found = ((errors.nearest(alias, known), adapter) for alias, adapter in readings(name) if adapter)
    with_adapters = [f"{alias}{ADAPTER}{adapter}" for alias, adapter in found if alias]
    return errors.nearest(name, [each for each in (*known, *with_adapters) if each != name])  # never the very word


def _problem(alias: str) -> str:
    for pattern, problem in _PROBLEMS:
        if pattern.search(alias):
            return problem
    if any(unicodedata.category(character).startswith("C") for character in alias):
        return _("a character that cannot be seen or typed")
    if _is_dash(alias[0]):
        return _("a dash at its beginning, which marks an option")
    if not alias.strip("."):
        return _("only dots")
    return _("more than {count} characters", count=LONGEST) if len(alias) > LONGEST else ""


def _is_dash(character: str) -> bool:
    return character == "\u2212" or unicodedata.category(character) == _DASHES


def _near(alias: str) -> str:
    """Return a similar alias that works, or an empty text."""
    kept = re.sub(r"[^\w./:@+-]+", "_", alias).strip("_")
    while kept and (_is_dash(kept[0]) or not kept.strip(".")):
        kept = kept[1:]
    kept = kept[:LONGEST].rstrip("_")
    return kept if kept and not _problem(kept) else ""
