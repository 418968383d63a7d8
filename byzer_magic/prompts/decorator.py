"""The decorator `bz.prompt`, which makes prompt functions."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.prompts.function import How, PromptFunction


def prompt(model: Any = None, /, *, llm: Any = None, options: Mapping[str, Any] | None = None, **more: Any) -> Any:
    '''Make a function's docstring a prompt, and its call a request.

    The docstring is a Jinja template with the function's arguments; a dict that the function returns adds values. The
    annotation of what it returns says what the response becomes: `str`, `Generator[str, None, None]` for a stream, or
    any type that pydantic validates.

    Args:
        model: an alias, a `Model`, or a lambda of the object whose method this is, which returns one; without one,
            calling the function returns its prompt. A function with a name is the prompt itself: `@prompt` works
            without parentheses.
        llm: the same, by name; here a function with a name chooses the model, too.
        options: OpenAI's request fields, e.g. ``{"temperature": 0}``; also ``system``, ``image``, ``audio`` and
            ``timeout``.
        more: further options, as keyword arguments.

    Raises:
        CommandError: a function is decorated without parentheses, and has no docstring.

    Example:
        >>> @prompt()
        ... def translate(text: str, language: str) -> str:
        ...     """Translate into {{ language }}: {{ text }}"""
        >>> translate.prompt("good morning", language="French")
        'Translate into French: good morning'
    '''
    how = How(llm=llm if model is None else model, options={**(options or {}), **more})
    if inspect.isfunction(model) and model.__name__ != "<lambda>":  # @prompt, without parentheses
        if not (model.__doc__ or "").strip():
            raise CommandError(
                _("{name} has no docstring, which would be its prompt.", name=model.__name__),
                _("Write a docstring; a function that chooses the model is passed as llm=, or as a lambda."),
            )
        return PromptFunction(model, replace(how, llm=llm))
    return lambda function: PromptFunction(function, how)
