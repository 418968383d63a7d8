"""`python -m byzer_magic.i18n update | check`: the gettext catalogs, made from the code.

`update` extracts the templates, merges them into every `locale/<language>/LC_MESSAGES/byzer_magic.po` and compiles
the `.mo` files; `--language NAME` starts a new catalog. `check` fails when a template cannot be filled in, when a
translation is missing or fuzzy, when its fields differ from those of its template, or when a compiled file is out of
date. Babel, a development tool, reads and writes the catalogs.
"""

from __future__ import annotations

import argparse
import io
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from byzer_magic.i18n import extract
from byzer_magic.i18n.extract import PACKAGE
from byzer_magic.i18n.language import LANGUAGES, LOCALE_DIR
from byzer_magic.i18n.text import DOMAIN

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def extracted() -> Catalog:
    """Return all templates in the code, with the files that they are in."""
    template = Catalog(project="byzer-magic", charset="utf-8")
    for found in extract.extracted():
        if found.forms:
            message = found.forms[0] if len(found.forms) == 1 else found.forms
            template.add(message, None, [(f"byzer_magic/{found.path}", 0)], auto_comments=found.comments)
    return template


def po_file(language: str) -> Path:
    """Return the path of a language's catalog."""
    return LOCALE_DIR / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def merged(language: str) -> Catalog:
    """Return a language's catalog with exactly the templates of the code."""
    path = po_file(language)
    if path.is_file():
        with path.open("rb") as file:
            catalog = read_po(file, locale=language, domain=DOMAIN)
    else:
        catalog = Catalog(locale=language, domain=DOMAIN, project="byzer-magic")
    catalog.update(extracted(), no_fuzzy_matching=True)
    catalog.obsolete.clear()
    catalog.fuzzy = False
    catalog.creation_date = catalog.revision_date = EPOCH  # a date would change the file with every update
    return catalog


def _stored(language: str) -> Catalog:
    with po_file(language).open("rb") as file:
        return read_po(file, locale=language, domain=DOMAIN)


def compiled(catalog: Catalog) -> bytes:
    """Return a catalog as the bytes of a .mo file."""
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def update(languages: list[str]) -> None:
    """Write the catalogs."""
    for language in languages:
        catalog = merged(language)
        path = po_file(language)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            write_po(file, catalog, width=0, sort_output=True, omit_header=False, include_lineno=False)
        path.with_suffix(".mo").write_bytes(compiled(_stored(language)))
        print(f"{path.relative_to(PACKAGE.parent)}: {len(catalog)} texts, {len(_missing(catalog))} not translated")


def faults(language: str) -> list[str]:
    """Return the faults of a language's catalog, one line each."""
    catalog = merged(language)
    found = [f"{language}: not translated: {template!r}" for template in _missing(catalog)]
    found += [f"{language}: other fields than its template: {message.id!r}" for message in catalog if _differs(message)]
    compiled_file = po_file(language).with_suffix(".mo")
    if not compiled_file.is_file() or compiled_file.read_bytes() != compiled(_stored(language)):
        found.append(f"{language}: the compiled catalog is out of date; run: make translations")
    return found


def wrong_calls() -> list[str]:
    """Return the calls whose template cannot be translated or filled in, one line each."""
    return [f"{call.path}:{call.line}: {call.fault}" for call in extract.extracted() if call.fault]


def _missing(catalog: Catalog) -> list[Any]:
    """Return the templates without a translation, except names of products, which need none."""
    names = {found.forms[0] for found in extract.extracted() if found.is_name}
    return [message.id for message in catalog if message.id and not _complete(message) and message.id not in names]


def _complete(message: Message) -> bool:
    return all(_forms(message.string)) and not message.fuzzy


def _differs(message: Message) -> bool:
    if not message.id or not _complete(message):
        return False
    known = set().union(*map(_fields, _forms(message.id)))
    return any(not _fields(form) <= known for form in _forms(message.string))


def _forms(texts: Any) -> list[str]:
    """Return a text's forms: one, or one for each plural."""
    return [texts or ""] if isinstance(texts, str | None) else list(texts)


def _fields(template: str) -> set[str]:
    try:
        return extract.fields_of(template)
    except ValueError:  # a text with braces that is never formatted
        return set()


def main() -> int:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(prog="python -m byzer_magic.i18n")
    parser.add_argument("command", choices=("update", "check"))
    parser.add_argument("--language", help="a language to start a catalog for, such as fr")
    arguments = parser.parse_args()
    languages = [name for name in LANGUAGES if name != "en"]
    if arguments.command == "update":
        update([arguments.language] if arguments.language else languages)
        return 0
    found = [*wrong_calls(), *(line for language in languages for line in faults(language))]
    print("\n".join(found) or "All texts are translated.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
