"""Every text of an error can be translated: its message and hint are lazy texts, not literals or f-strings."""

from __future__ import annotations

import ast
import json
import os
import pickle
import re
import string
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import byzer_magic
from byzer_magic.errors import KINDS, ByzerError, from_wire, suggest, to_wire
from byzer_magic.i18n import LANGUAGES, Text, lazy_gettext, using
from byzer_magic.i18n.__main__ import faults, wrong_calls
from byzer_magic.i18n.extract import Found, extracted

PACKAGE = Path(byzer_magic.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


@cache
def error_classes() -> frozenset[str]:
    """The classes of `errors.py`, and those that other modules derive from them."""
    known = set(KINDS)
    classes = [node for path in FILES for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)]
    while more := {node.name for node in classes if known & set(map(name_of, node.bases))} - known:
        known |= more
    return frozenset(known)


def texts_of(call: ast.Call) -> list[ast.expr]:
    """The message and the hint of an error that is made."""
    return [*call.args[:2], *(item.value for item in call.keywords if item.arg in ("message", "hint"))]


def makers(tree: ast.Module) -> dict[str, set[int]]:
    """The functions of a module that make an error of a text they are given, with the places of those parameters."""
    found: dict[str, set[int]] = {}
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        names = [
            item.arg for item in (*function.args.posonlyargs, *function.args.args) if item.arg not in ("self", "cls")
        ]
        calls = [
            node for node in ast.walk(function) if isinstance(node, ast.Call) and name_of(node.func) in error_classes()
        ]
        given = {name_of(text) for call in calls for text in texts_of(call)}
        if places := {place for place, name in enumerate(names) if name in given}:
            found[function.name] = places
    return found


def is_fixed(node: ast.expr, assigned: dict[str, list[ast.expr]] | None = None) -> bool:
    """Whether an expression is English for good; `assigned` are the values of the variables in its function."""
    match node:
        case ast.Name(id=name) if assigned:
            return any(map(is_fixed, assigned.get(name, ())))
        case ast.Constant(value=str(text)):
            return any(char.isalpha() for char in text)
        case ast.JoinedStr(values=values):
            return any(isinstance(part, ast.Constant) and is_fixed(part) for part in values)
        case ast.BinOp(left=left, right=right):
            return is_fixed(left) or is_fixed(right)
        case ast.IfExp(body=body, orelse=orelse):
            return is_fixed(body) or is_fixed(orelse)
        case ast.BoolOp(values=values):
            return any(map(is_fixed, values))
        case ast.Call(func=ast.Attribute(value=value, attr="format" | "join")):
            return is_fixed(value)
    return False


def assigned_in(function: ast.AST) -> dict[str, list[ast.expr]]:
    """The values that the variables of a function are given."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return found


def fixed_texts(path: Path) -> Iterator[str]:
    tree = tree_of(path)
    local = makers(tree)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for scope in (tree, *functions):
        assigned = assigned_in(scope) if scope is not tree else {}
        for node in ast.walk(scope):
            if not isinstance(node, ast.Call):
                continue
            name = name_of(node.func)
            texts = texts_of(node) if name in error_classes() else []
            texts += [node.args[place] for place in local.get(name, ()) if place < len(node.args)]
            for text in texts:
                if is_fixed(text, assigned):
                    yield f"{path.relative_to(PACKAGE)}:{text.lineno}: {ast.unparse(text)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_error_texts_can_be_translated(path: Path) -> None:
    assert list(fixed_texts(path)) == []


@pytest.mark.parametrize(
    "line",
    [
        'raise BadRequest("No.")',
        'raise errors.BadRequest(f"{x} is wrong.")',
        'raise BadRequest(_("No."), "Try " + again)',
        'raise BadRequest(_("No."), hint="Try again." if x else "")',
        'def f():\n    hint = f"Try {x}."\n    raise BadRequest(_("No."), hint)',
        'def refused(message): return BadRequest(message)\nraise refused("No.")',
    ],
)
def test_fixed_texts_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    path = tmp_path / "planted.py"
    path.write_text(line)
    assert len(set(fixed_texts(path))) == 1


# catalogs

LANGUAGES_WITH_CATALOG = [name for name in LANGUAGES if name != "en"]
CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize("language", LANGUAGES_WITH_CATALOG)
def test_catalog_is_complete(language: str) -> None:
    assert faults(language) == [], "run: make translations; translate the new entries; run it again"


def test_calls_can_be_translated() -> None:
    assert wrong_calls() == []


@cache
def templates() -> list[Found]:
    """Return the texts of the package that have a template."""
    return [found for found in extracted() if found.forms]


def text_of(found: Found) -> Text:
    """A template with values of the types that its formats take."""
    values: dict[str, object] = {"count": 2} if len(found.forms) == 2 else {}
    for form in found.forms if found.formatted else ():
        for _text, name, spec, conversion in string.Formatter().parse(form):
            if name is not None:
                is_number = name == "count" or (spec and not conversion and spec[-1] not in "<>^s")
                values[name] = 2 if is_number else f"<{name}>"
    return Text(*found.forms, *([""] if len(found.forms) == 1 else []), values)


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_can_be_shown(language: str) -> None:
    for found in templates():
        text = text_of(found)
        shown = text.translated(language)
        assert all(value in shown for value in text.values.values() if isinstance(value, str)), (found, shown)


def test_texts_are_chinese_on_a_chinese_screen() -> None:
    texts = {found.forms[0]: text_of(found) for found in templates()}
    same = {template for template, text in texts.items() if text == text.translated("zh")}
    same -= {found.forms[0] for found in templates() if found.is_name}
    words = {template for template in same if re.search("[a-z]{3}", re.sub(r"\{[^{}]*\}", "", template))}
    assert words == SAME, "SAME has the texts that are equal in Chinese: translate the text, or update SAME"


SAME = {"Python", "worker {index}"}
"""Texts that are the same in Chinese: names, and terms that Chinese engineers use in English."""


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_errors_are_chinese_on_a_chinese_screen(kind: type[ByzerError]) -> None:
    error = kind(lazy_gettext("Unknown command {name}.", name="x"), suggest("deplyo", ["deploy"]), status=400)
    for copy in (error, pickle.loads(pickle.dumps(error)), from_wire(json.loads(json.dumps(to_wire(error))))):
        with using("zh"):
            assert copy.localized() == "未知命令 x。\n是否想输入 deploy？"
        assert str(copy) == "Unknown command x.\nDid you mean deploy?"


def test_shell_error_is_chinese_in_a_chinese_shell() -> None:
    command = [sys.executable, "-m", "byzer_magic.cli", "depoly"]
    done = subprocess.run(command, env=os.environ | {"BYZER_LANG": "zh"}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "未知命令 'depoly'。" in done.stderr
    assert "是否想输入 deploy？" in done.stderr
