"""Which texts are found in the code, and which calls cannot be translated."""

from __future__ import annotations

import pytest

from byzer_magic.i18n.extract import calls, entries

IMPORTS = "from byzer_magic.i18n import gettext, lazy_gettext as _, ngettext as n\nfrom byzer_magic import i18n\n"


@pytest.mark.parametrize(
    ("line", "forms"),
    [
        ('_("a")', [("a",)]),
        ('_("a " "b {c}", c=1)', [("a b {c}",)]),
        ('_("a {b}", b=_("c"))', [("a {b}",), ("c",)]),
        ('n("{count} a", "{count} b", len(_("c")))', [("{count} a", "{count} b"), ("c",)]),
        ("f\"<b>{_('in f')}</b>\"", [("in f",)]),
        ('gettext("x"), i18n.lazy_gettext("y")', [("x",), ("y",)]),
        ('other("x"), _(name), "_(z)"', []),
    ],
)
def test_calls_finds_templates_wherever_they_are(line: str, forms: list[tuple[str, ...]]) -> None:
    assert [found.forms for found in calls(IMPORTS + line) if found.forms] == forms


def test_calls_of_a_module_that_imports_another_function_of_that_name_are_not_found() -> None:
    assert list(calls('from gettext import gettext as _\n_("a")')) == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('_(f"a {b}")', "put together"),
        ('_("a" + b)', "put together"),
        ('_("{a} {b!r}", a=1)', "no value for b"),
        ('n("{count} a", "{count} {b}", 2)', "no value for b"),
        ('_("{a", a=1)', "not a template"),
        ('_("{a} {b}", **values)', ""),
        ('_("${NAME} is taken as it is")', ""),
    ],
)
def test_calls_reports_what_cannot_be_translated(line: str, fault: str) -> None:
    (found,) = calls(IMPORTS + line)
    assert fault in found.fault
    assert bool(fault) == bool(found.fault)


def test_calls_keeps_the_comment_for_translators() -> None:
    (found,) = calls(f'{IMPORTS}# translators: of a queue\n_("full")')
    assert found.comments == ("of a queue",)


def test_entries_finds_the_fields_of_every_table() -> None:
    toml = '[a]\nnote = "first"\ntitle = "A"\n[[b]]\nnote = "second"\n[[b]]\nnote = ""\n'
    assert [found.forms for found in entries(toml, "x.toml", ("note",))] == [("first",), ("second",)]
