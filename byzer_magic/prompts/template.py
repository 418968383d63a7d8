"""The text of a prompt function: its docstring, a Jinja template, filled in."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _

if TYPE_CHECKING:
    from jinja2 import Template

_FIRST_INDENT = re.compile(r"\s*?^(?P<width>[^\S\n]*)\S", re.MULTILINE)
"""Blank lines, and the indentation of the first line that is not blank."""


def render(function: Callable[..., Any], values: Mapping[str, Any], *, strict: bool = True) -> str:
    r'''Return the prompt of a function.

    Args:
        function: its docstring is the template.
        values: what the template may name.
        strict: whether a name without a value is an error, or empty.

    Raises:
        CommandError: there is no docstring, it is not a template, or it names a value that is missing.

    Example:
        >>> def hello(name: str) -> str:
        ...     """
        ...     Hello {{ name }}!
        ...     """
        >>> render(hello, {"name": "Ann"})
        '\nHello Ann!'
    '''
    from jinja2 import TemplateError, UndefinedError

    name = getattr(function, "__name__", str(function))
    text = function.__doc__ or ""
    if not text.strip():
        raise CommandError(
            _("{name} has no docstring, which would be its prompt.", name=name),
            _('Write the prompt between """ below the def line.'),
        )
    try:
        return template(dedented(text), strict=strict).render(values)
    except UndefinedError as err:
        hint = _("Make it an argument of {name}, or return it from the function in a dict.", name=name)
        raise CommandError(_("In the prompt of {name}, {problem}.", name=name, problem=err.message), hint) from err
    except TemplateError as err:
        hint = _("See: https://jinja.palletsprojects.com/templates/")
        raise CommandError(
            _("The prompt of {name} is not a valid Jinja template: {problem}", name=name, problem=err.message), hint
        ) from err


@functools.lru_cache(maxsize=1024)
def template(text: str, *, strict: bool) -> Template:
    """Return a compiled template; compiling takes a hundred times as long as filling in."""
    from jinja2 import Environment, StrictUndefined, Undefined

    environment = Environment(undefined=StrictUndefined if strict else Undefined)  # noqa: S701 - prompts are not HTML
    return environment.from_string(text)


def dedented(text: str) -> str:
    r"""Return a docstring without the indentation of its first line that is not blank.

    Example:
        >>> dedented("\n    one\n      two\n    ")
        '\none\n  two\n'
    """
    indent = _FIRST_INDENT.match(text)
    if indent is None or not indent["width"]:  # it begins beside the quotation marks: the other lines are indented
        return inspect.cleandoc(text)
    at_most = re.compile(rf"^[^\S\n]{{1,{len(indent['width'])}}}", re.MULTILINE)
    return at_most.sub("", text)
