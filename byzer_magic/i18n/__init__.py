"""Texts in the user's language, by gettext: English templates stay in the code, translations are catalogs in `locale/`.

Where the language is known (rendering, faces), translate at once:

    from byzer_magic.i18n import gettext as _
    _("{count} texts", count=3)

Where it is not (errors and options: the reader may be in another process), keep the template and its values together:

    from byzer_magic.i18n import lazy_gettext as _
    raise NameTaken(_("{alias} is already deployed.", alias=alias), _("Add --replace to replace it."))

Templates use `str.format` fields; a template without values is taken literally, braces included. A field that is a list
of names takes `listed(names)`: `a, b`, in Chinese `a、b`.
`python -m byzer_magic.i18n` extracts, updates, checks and compiles the catalogs.
"""

from byzer_magic.i18n.language import LANGUAGES, language, language_of, set_language, using
from byzer_magic.i18n.text import (
    Text,
    encode_text,
    gettext,
    join,
    lazy_gettext,
    lazy_ngettext,
    listed,
    localized,
    ngettext,
    pack,
    sentences,
    unpack,
)
from byzer_magic.i18n.width import pad, width

__all__ = [
    "LANGUAGES",
    "Text",
    "encode_text",
    "gettext",
    "join",
    "language",
    "language_of",
    "lazy_gettext",
    "lazy_ngettext",
    "listed",
    "localized",
    "ngettext",
    "pack",
    "pad",
    "sentences",
    "set_language",
    "unpack",
    "using",
    "width",
]
