"""Which language texts are shown in: one for the process, which `using` overrides for a block of code."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

LOCALE_DIR = Path(__file__).parent / "locale"
LANGUAGES = ("en", *sorted(folder.name for folder in LOCALE_DIR.iterdir() if folder.is_dir()))
"""English, and every language that has a catalog."""

_override: ContextVar[str] = ContextVar("byzer_magic_language", default="")
_process_language = ""


@functools.cache
def language_of(name: str) -> str:
    """Return the language of a locale name, one of `LANGUAGES`; English when there is no catalog for it.

    Example:
        >>> language_of("zh_TW.UTF-8"), language_of("zh"), language_of("C.UTF-8")
        ('zh_CN', 'zh_CN', 'en')
    """
    plain = name.partition(".")[0].replace("-", "_")
    exact = [known for known in LANGUAGES if known.lower() == plain.lower()]
    prefix = plain.partition("_")[0].lower()
    related = [known for known in LANGUAGES if known.partition("_")[0].lower() == prefix]
    return [*exact, *related, "en"][0]


def language() -> str:
    """Return the language of texts shown now: of the enclosing `using`, else of the process, else of the locale.

    Example:
        >>> with using("en_GB"):
        ...     language()
        'en'
    """
    return _override.get() or _process_language or language_of(_locale())


def _locale() -> str:
    """Return the locale's name for messages, by the variables that POSIX has for it, in its order."""
    return next((name for variable in ("LC_ALL", "LC_MESSAGES", "LANG") if (name := os.environ.get(variable))), "")


def set_language(name: str) -> None:
    """Set the language of this process (`zh`, `zh_CN`, `en`, ...); empty: that of the locale.

    Example:
        >>> set_language("")
        >>> language() in LANGUAGES
        True
    """
    global _process_language
    _process_language = language_of(name) if name else ""


@contextmanager
def using(name: str) -> Iterator[None]:
    """Show texts in this language within the block, also in tasks that are started in it.

    Example:
        >>> from byzer_magic.i18n import language
        >>> with using("zh"):
        ...     language()
        'zh_CN'
    """
    token = _override.set(language_of(name))
    try:
        yield
    finally:
        _override.reset(token)
