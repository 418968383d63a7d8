"""Shift-Tab in a notebook: help on the command and the option at the cursor.

A front end sends the complete cell and the cursor, but IPython looks up one word of it as an object, and a flag is not
an object. There is no hook before that look-up, so the shell's `object_inspect_mime` is wrapped while the extension is
loaded; requests from other cells are passed on unchanged.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import textwrap
from collections.abc import Callable
from typing import Any

from byzer_magic.backends import registry
from byzer_magic.commands import parser
from byzer_magic.commands.help import help_text, option_text
from byzer_magic.commands.options import Option, Spec, options_of
from byzer_magic.commands.spec import DeploySpec, all_commands
from byzer_magic.errors import ByzerError, CommandError
from byzer_magic.i18n import localized
from byzer_magic.magics.complete import command_at
from byzer_magic.rendering.markup import tag

WIDTH = 74
"""Characters that fit into a line of JupyterLab's tooltip, which is 600 pixels wide."""
ROW = re.compile(r"(?P<left> *\S.*?  +)\S.*")
"""A line of two columns."""


def install(shell: Any) -> Callable[[], None]:
    """Answer Shift-Tab in byzer cells; return a function that undoes this."""
    original = shell.object_inspect_mime

    def answer(oname: str, *args: Any, **kwargs: Any) -> Any:
        text = help_at(*_cell(shell))
        return original(oname, *args, **kwargs) if text is None else _bundle(text)

    shell.object_inspect_mime = answer

    def remove() -> None:
        with contextlib.suppress(AttributeError):
            if vars(shell).get("object_inspect_mime") is answer:
                del shell.object_inspect_mime

    return remove


def _cell(shell: Any) -> tuple[str, int]:
    """Return the code and the cursor of the inspect request being handled; empty for any other request."""
    kernel = getattr(shell, "kernel", None)
    request = kernel.get_parent("shell") if kernel is not None else {}
    if request.get("header", {}).get("msg_type") != "inspect_request":
        return "", 0
    return request["content"]["code"], request["content"]["cursor_pos"]


def _bundle(text: str) -> dict[str, str]:
    return {"text/plain": text, "text/html": str(tag("pre", text))}


def help_at(code: str, cursor: int) -> str | None:
    """Return the help for a place in a cell; None where the cell is not one of ours."""
    end = code.find("\n", cursor)
    line = code[: len(code) if end < 0 else end]  # the command of the line, also where the cursor is at its start
    typed = command_at(line)
    if typed is None:
        typed = command_at(f"{line} ")  # the magic alone
    if typed is None:
        return None
    try:
        words = parser.split(typed)
    except CommandError:
        words = typed.split()
    name, cls = _command(words)
    if cls is None:
        return _fitted(help_text("easy" if words[:1] == ["easy"] else None))
    before = command_at(code[:cursor]) or ""
    here = _option_at(cls, before)
    parts = [help_text(name)]
    if here is not None and here.kind == "params" and cls is DeploySpec:
        parts.insert(0, _params(words))
    if here is not None:
        parts.insert(0, option_text(here))
    return _fitted("\n\n".join(part for part in parts if part))


def _fitted(text: str) -> str:
    return "\n".join(map(_wrapped, text.split("\n")))


def _wrapped(line: str) -> str:
    """Return a line that is too long as several: below its last column, or deeper than the example that it is."""
    row = ROW.fullmatch(line)
    indent = " " * (len(row["left"]) if row else 4 if line.startswith(" ") else 0)
    kept = textwrap.wrap(line, WIDTH, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False)
    return "\n".join(kept) if len(line) > WIDTH else line


def _command(words: list[str]) -> tuple[str, type[Spec] | None]:
    known = all_commands()
    for taken in (2, 1):
        name = " ".join(words[:taken])
        if name in known:
            return name, known[name]
    return "", None


def _option_at(cls: type[Spec], before: str) -> Option | None:
    """Return the option whose name or value is before the cursor."""
    words = before.split()
    if before[-1:].isspace():
        words.append("")
    places = [place for place, word in enumerate(words) if word.startswith("--")]
    if not places:
        return None
    name = words[places[-1]].partition("=")[0].removeprefix("--")
    near = [opt for opt in options_of(cls) if opt.name.startswith(name)]
    found = next((opt for opt in near if opt.name == name), near[0] if len(near) == 1 else None)
    since = len(words) - 1 - places[-1]
    if found is None or found.kind == "params" or since == 0:
        return found
    return found if since == 1 and (found.kind != "bool" or not words[-1]) else None


def _params(words: list[str]) -> str:
    """Return the settings that `--infer_params` accepts for this type and engine."""
    given = dict(itertools.pairwise(words))
    kind = given.get("--pretrained_model_type", "custom/auto")
    try:
        params = registry.find(kind, given.get("--infer_backend")).info.params
    except ByzerError:
        return ""
    width = max((len(param.name) for param in params), default=0) + 1
    return "\n".join(f"  {param.name + '=':{width}}  {localized(param.help)}" for param in params)
