"""Every text of an error can be translated: its message and hint are lazy texts, not literals or f-strings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import byzer_magic
from byzer_magic.errors import KINDS

PACKAGE = Path(byzer_magic.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

NOT_YET = (
    "actions/", "backends/", "catalog/", "cli.py", "client/", "commands/", "config.py", "local_models/", "magics/",
    "media/", "results/", "routing/", "runtime/", "widgets/",
)  # fmt: skip
"""Beginnings of the paths of files whose errors are not translated yet."""


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


def is_fixed(node: ast.expr) -> bool:
    """Whether an expression is English for good."""
    match node:
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


def fixed_texts(path: Path) -> Iterator[str]:
    tree = tree_of(path)
    local = makers(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node.func)
        texts = texts_of(node) if name in error_classes() else []
        texts += [node.args[place] for place in local.get(name, ()) if place < len(node.args)]
        yield from (
            f"{path.relative_to(PACKAGE)}:{text.lineno}: {ast.unparse(text)}" for text in texts if is_fixed(text)
        )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_error_texts_can_be_translated(path: Path) -> None:
    if not str(path.relative_to(PACKAGE)).startswith(NOT_YET):
        assert list(fixed_texts(path)) == []


@pytest.mark.parametrize(
    "line",
    [
        'raise BadRequest("No.")',
        'raise errors.BadRequest(f"{x} is wrong.")',
        'raise BadRequest(_("No."), "Try " + again)',
        'raise BadRequest(_("No."), hint="Try again." if x else "")',
        'def refused(message): return BadRequest(message)\nraise refused("No.")',
    ],
)
def test_fixed_texts_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    path = tmp_path / "planted.py"
    path.write_text(line)
    assert len(list(fixed_texts(path))) == 1
