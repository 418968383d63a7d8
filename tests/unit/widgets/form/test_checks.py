"""Errors of a form's fields."""

from __future__ import annotations

from byzer_magic.backends import registry
from byzer_magic.widgets.form import (
    checks as form_checks,
)
from byzer_magic.widgets.form.values import PARAM

API_KEY = f"{PARAM}saas.api_key"


def test_check_reports_the_error_of_each_field() -> None:
    values = {
        "model": "a", "pretrained_model_type": "saas/openai", "num_workers": "0", "cpus_per_worker": "two",
        f"{PARAM}saas.model": "m", f"{PARAM}saas.modle": "m", f"{PARAM}saas.timeout": "soon",
        f"{PARAM}saas.user": "${NOBODY}", f"{PARAM}saas.extra_body": "{", f"{PARAM}saas.base_url": "<url>",
    }  # fmt: skip
    found = form_checks.check(values, [], registry.find("saas/openai").info, {}, {})
    assert {name.removeprefix(PARAM): text.split(".")[0] for name, text in found.errors.items()}.keys() == {
        "num_workers", "cpus_per_worker", "saas.modle", "saas.timeout", "saas.user", "saas.extra_body", "saas.base_url",
    }  # fmt: skip
    assert all("\n" not in text for text in found.errors.values())
    assert "Did you mean saas.model?" in found.errors[f"{PARAM}saas.modle"]
    assert found.missing == {}


def test_check_separates_missing_from_wrong_fields() -> None:
    info = registry.find("saas/claude").info
    found = form_checks.check({"pretrained_model_type": "saas/claude"}, [], info, {}, {})
    assert set(found.missing) == {"model", API_KEY, f"{PARAM}saas.model"}
    assert not found.errors
    given = form_checks.check({"model": "a", f"{PARAM}saas.model": "m"}, [API_KEY], info, {}, {})
    assert given.ok
    environ = form_checks.check({"model": "a", f"{PARAM}saas.model": "m"}, [], info, {}, {"ANTHROPIC_API_KEY": "k"})
    assert environ.ok


def test_check_reports_an_alias_that_no_command_takes() -> None:
    for alias, error in (("a,b", "has a comma"), (" ", "is empty"), ("\u2014a", "has a dash at its beginning")):
        found = form_checks.check({"model": alias}, [], None, {}, {})
        assert error in found.errors["model"]
    assert not form_checks.check({"model": "\u6a21\u578b"}, [], None, {}, {}).errors


def test_an_error_of_a_field_shows_what_was_typed() -> None:
    values = {"model": "a", f"{PARAM}saas.model": "m", f"{PARAM}saas.timeout": "${MY_KEY}"}
    found = form_checks.check(values, [], registry.find("saas/openai").info, {}, {"MY_KEY": "planted-key-0123456789"})
    assert "${MY_KEY}" in found.errors[f"{PARAM}saas.timeout"]
    assert "planted" not in found.errors[f"{PARAM}saas.timeout"]
