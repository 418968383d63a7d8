"""Tab completion of the magics, as an IPython matcher (API v2)."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

import byzer_magic
from byzer_magic import request_ids
from byzer_magic.backends import registry
from byzer_magic.catalog import presets
from byzer_magic.client import answers
from byzer_magic.commands import parser
from byzer_magic.errors import ByzerError
from byzer_magic.local_models.hubs import cache
from byzer_magic.local_models.hubs.hub import HUBS

LAST_WORD = re.compile(r"\S*\Z")
ALIAS_SECONDS = 1.0
"""Completion gives up asking the cluster after this long."""


def install(shell: Any, magics: Any) -> Callable[[], None]:
    """Add the matcher to a shell's completer; return a function that removes it."""

    @context_matcher(identifier="byzer_magic")
    def matcher(context: CompletionContext) -> SimpleMatcherResult:
        before = context.full_text[: _offset(context)]
        words = candidates(before)
        return SimpleMatcherResult(
            completions=[SimpleCompletion(word, type=_type(word)) for word in words],
            suppress=bool(words),
            matched_fragment=LAST_WORD.findall(before)[0],  # IPython's own idea of a word ends at = and {
        )

    shell.Completer.custom_matchers.append(matcher)

    def remove() -> None:
        with contextlib.suppress(ValueError):
            shell.Completer.custom_matchers.remove(matcher)

    return remove


def _type(word: str) -> str:
    """Return the label that the menu shows beside a word."""
    return "option" if word.startswith("--") else "setting" if word.endswith("=") else "value"


def _offset(context: CompletionContext) -> int:
    lines = context.full_text.split("\n")[: context.cursor_line]
    return sum(len(line) + 1 for line in lines) + int(context.cursor_position)


def candidates(before: str) -> list[str]:
    """Return the words that can complete the last word of a cell's text before the cursor."""
    text = command_at(before)
    if text is None:
        return []
    return parser.complete(
        text, aliases=_aliases(), preset_names=list(presets.load()), kinds=registry.kinds(), params=_params_of,
        models=_models, answers=_answers,
    )  # fmt: skip


def command_at(before: str) -> str | None:
    """Return the command that a cell's text before the cursor ends with, without its magic; None in other cells."""
    first, _, body = before.partition("\n")
    if first.lstrip().startswith("%%byzer"):
        return last_command(f"{first.lstrip()[7:]}\n{body}")
    if first.lstrip().startswith("%%chat") and "\n" in before:
        return None  # the prompt
    magic, space, rest = last_command(before).partition(" ")
    prefix = {"%byzer": "", "%chat": "%%chat ", "%%chat": "%%chat "}.get(magic)
    return None if prefix is None or not space else prefix + rest


def last_command(text: str) -> str:
    """Return the command that the last line of `text` belongs to: that line, and those it continues."""
    lines = text.split("\n")
    start = len(lines) - 1
    while start > 0 and (lines[start - 1].rstrip().endswith("\\") or lines[start].lstrip().startswith("--")):
        start -= 1
    words = "\n".join(lines[start:]).lstrip().removeprefix("!")
    easy = words.startswith("easy-byzerllm ")
    return "easy " * easy + re.sub(r"^(easy-)?byzerllm ", "", words)


def _params_of(kind: str, infer_backend: str | None) -> list[str]:
    try:
        return [f"{param.name}=" for param in registry.find(kind, infer_backend).info.params]
    except ByzerError:
        return []


def _models() -> list[str]:
    """Return the prefixes of hubs, and the repositories that are in their caches."""
    return [*(f"{hub}:" for hub in HUBS), *map(str, cache.repositories())]


def _answers() -> list[str]:
    """Return the ids of the answers that deployments keep, newest first."""
    manager = byzer_magic.default_manager()
    try:
        found = manager.run(asyncio.wait_for(answers.everywhere(manager), ALIAS_SECONDS))
    except (ByzerError, TimeoutError):
        return []
    return [request_ids.short(item.answer.id) for item in found if item.answer.state != "dropped"]


def _aliases() -> list[str]:
    """Return the deployed aliases, when this process is connected already: Tab must not start a Ray."""
    manager = byzer_magic.default_manager()
    if not manager.connected:
        return []
    try:
        return manager.run(asyncio.wait_for(manager.aliases(), ALIAS_SECONDS))
    except (ByzerError, TimeoutError):
        return []
