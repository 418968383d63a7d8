"""The types in a function's signature, also where annotations are texts."""

from __future__ import annotations

import inspect
import types
from typing import Any, get_type_hints

from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _


def hints_of(function: Any, only: str | None = None) -> dict[str, Any]:
    """Return the types of a callable's arguments and of what it returns, under `return`.

    Args:
        function: a function, a method, a class, or an object that can be called.
        only: one of them; the types of the others need not be there.

    Raises:
        CommandError: an annotation names a type that cannot be found, or is none.

    Example:
        >>> def double(number: "int") -> "list[int]": ...
        >>> hints_of(double)
        {'number': <class 'int'>, 'return': list[int]}
    """
    annotated = _annotated(function)
    names = _closure(annotated)
    try:
        if only is not None:
            annotated = _with_one(annotated, only)
        return get_type_hints(annotated, localns=names, include_extras=True)
    except NameError as err:
        raise CommandError(
            _("{name}: the type {type} in its annotations is not defined.",
              name=getattr(function, "__name__", repr(function)), type=err.name),
            _("Define the type at the top of the notebook or module, not inside a function."),
        ) from err  # fmt: skip
    except (AttributeError, SyntaxError, TypeError) as err:
        raise CommandError(
            _("{name}: its annotations cannot be read: {problem}", name=getattr(function, "__name__", repr(function)),
              problem=f"{type(err).__name__}: {err}"),
            _("Correct the types in the def line."),
        ) from err  # fmt: skip


def _annotated(function: Any) -> Any:
    """Return the function that has the annotations of a call."""
    if inspect.isclass(function):
        made = inspect.isfunction(function.__init__)
        return function.__init__ if made and "__signature__" not in vars(function) else function
    return function if inspect.isroutine(function) else type(function).__call__


def _with_one(function: Any, name: str) -> Any:
    """Return a stand-in for a function that has one of its annotations."""
    function = inspect.unwrap(function)
    found = {each: kind for each, kind in getattr(function, "__annotations__", {}).items() if each == name}
    stand_in = types.FunctionType(_nothing.__code__, getattr(function, "__globals__", {}))
    stand_in.__annotations__ = found
    return stand_in


def _nothing() -> None:
    """Do nothing."""


def _closure(function: Any) -> dict[str, Any]:
    """Return the names that a function has from the functions around it."""
    try:
        return dict(inspect.getclosurevars(function).nonlocals)
    except (TypeError, ValueError):  # written in C, or a name is not bound yet
        return {}
