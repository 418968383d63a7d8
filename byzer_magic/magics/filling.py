"""Prompts with the notebook's expressions in them."""

from __future__ import annotations

import ast
import re
from typing import Any

from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _

EXPRESSION = re.compile(r"(?P<literal>\\)?\{\{(?P<code>(?:[^{}]|\{(?!\{)|\}(?!\}))++)\}\}")
"""`{{expression}}`; with a backslash in front it stays as typed."""


def fill(prompt: str, variables: dict[str, Any]) -> str:
    """Replace each `{{expression}}` in a prompt with its value in the notebook; single braces are literal.

    Args:
        prompt: the text.
        variables: the names that expressions may use.

    Raises:
        CommandError: an expression cannot be evaluated; the message names it.

    Example:
        >>> fill("Hello {{name.upper()}}", {"name": "Ada"})
        'Hello ADA'
    """

    def value(match: re.Match[str]) -> str:
        if match["literal"]:
            return match[0][1:]
        code = match["code"].strip()
        try:
            return str(eval(code, variables))  # noqa: S307 - the user's own expression, in the user's own kernel
        except NameError as err:
            raise CommandError(
                _("{expression}: {name} is not defined in this notebook.", expression=match[0], name=err.name),
                _(r"Define it first, or write \{{ for literal braces."),
            ) from err
        except Exception as err:  # the user's own expression may raise anything
            raise CommandError(
                _("{expression}: {error}.", expression=match[0], error=f"{type(err).__name__}: {err}"),
                _(r"Write \{{ for literal braces."),
            ) from err

    return EXPRESSION.sub(value, prompt)


def names_in(prompt: str) -> set[str]:
    """Return the names that the expressions of a prompt use; one that is not Python is left to `fill`.

    Example:
        >>> sorted(names_in("{{greet(name)}}, {literal}"))
        ['greet', 'name']
    """
    found: set[str] = set()
    for match in EXPRESSION.finditer(prompt):
        if match["literal"]:
            continue
        try:
            tree = ast.parse(match["code"].strip(), mode="eval")
        except SyntaxError:
            continue
        found |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return found
