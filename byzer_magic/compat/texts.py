"""Small functions on texts: code in responses, JSON as a model, templates."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from byzer_magic.client.tools import split
from byzer_magic.client.typed import NotThatType, Typed, code_blocks
from byzer_magic.prompts.template import render, template

UNKNOWN = "unknown"
"""The language of a text without a block of code."""
_INLINE = re.compile(r"`([^`\n]+)`")
_PYTHON = re.compile(r"(?m)^[ \t]*(?:import \w|from \w+ import|def \w+\(|class \w+[(:]|print\()")


def extract_code(text: Any, pattern: str = "", detect_single_line_code: bool = False) -> list[tuple[str, str]]:
    r"""Return the blocks of code in a response, each with its language.

    Args:
        text: the response, or the parts of a message.
        pattern: a regular expression with two groups, the language and the code, in place of the usual one.
        detect_single_line_code: whether code between single backquotes counts.

    Returns:
        Pairs; without a block, the complete text as `unknown`.

    Example:
        >>> extract_code("Run this:\n```shell\nls -l\n```")
        [('shell', 'ls -l')]
    """
    text = _joined(text)
    if pattern:
        return re.findall(pattern, text, flags=re.DOTALL) or [(UNKNOWN, text)]
    blocks, rest = code_blocks(text)
    if detect_single_line_code:
        return [*blocks, *(("", code.strip()) for code in _INLINE.findall(rest))]
    return blocks or [(UNKNOWN, text)]


def _joined(text: Any) -> str:
    if text is None:
        return ""
    if isinstance(text, str):
        return text
    return "".join(part.get("text", "") if part.get("type") == "text" else "<image>" for part in text)


def get_target_codes(codes: Iterable[tuple[str, str]], langs: Iterable[str]) -> list[str]:
    """Return the code of these languages."""
    wanted = set(langs)
    return [code for language, code in codes if language in wanted]


def get_value_from_llm_str(v: str, k: str, default_value: Any) -> Any:
    """Return a field of the last block of JSON in a response, or the default."""
    blocks = [_object(code) for language, code in extract_code(v) if language == "json"]
    return next((block[k] for block in reversed(blocks) if k in block), default_value)


def _object(code: str) -> dict[str, Any]:
    """Return the object in a text; an empty one where it has none."""
    try:
        found = json.loads(code)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def infer_lang(code: str) -> str:
    """Return the language that a text looks like: `python`, `sh` or `unknown`."""
    if code.startswith(("python ", "pip", "python3 ")):
        return "sh"
    return "python" if _PYTHON.search(code) else UNKNOWN


def to_model(result: str, model_class: Any) -> Any:
    r"""Return the JSON in a response as a pydantic model, or as a list of them where it is a list.

    Raises:
        ValueError: it has none that fits; the message says why.

    Example:
        >>> to_model("```json\n[1, 2]\n```", int)
        [1, 2]
    """
    return one_or_several(model_class).read(result)


def one_or_several(model_class: Any) -> Typed[Any]:
    """Return how a response is read that may have one value or a list of them, as byzer-llm reads it."""
    kind: Any = model_class | list[model_class] if isinstance(model_class, type) else model_class
    return Typed(kind)


def format_str_jinja2(s: str, **kargs: Any) -> str:
    """Return a Jinja template, filled in.

    Example:
        >>> format_str_jinja2("Hello {{ name }}", name="Ann")
        'Hello Ann'
    """
    return template(s, strict=False).render(kargs)


def format_prompt_jinja2(func: Callable[..., Any], **kargs: Any) -> str:
    """Return the docstring of a function as a prompt."""
    return render(func, kargs, strict=False)


def serialize_function_to_json(func: Callable[..., Any]) -> str:
    """Return what a model is told about a function, as JSON: its name, description and parameters.

    Example:
        >>> def age(name: str) -> int: ...
        >>> json.loads(serialize_function_to_json(age))["parameters"]["required"]
        ['name']
    """
    (_tool,), (schema,) = split([func])
    return json.dumps(schema["function"], ensure_ascii=False)


def random_uuid() -> str:
    """Return a random name of 32 hexadecimal digits."""
    return uuid.uuid4().hex


__all__ = [
    "NotThatType", "extract_code", "format_prompt_jinja2", "format_str_jinja2", "get_target_codes",
    "get_value_from_llm_str", "infer_lang", "one_or_several", "random_uuid", "serialize_function_to_json", "to_model",
]  # fmt: skip
