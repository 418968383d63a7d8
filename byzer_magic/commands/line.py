"""Specs as command lines: what the parser reads, written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from byzer_magic.commands import durations, typography
from byzer_magic.commands.options import Option, Spec, is_open, options_of, visible
from byzer_magic.commands.spec import ChatSpec, name_of
from byzer_magic.commands.tokens import FLAG, quote


def line(spec: Spec, *, masked: bool = False) -> str:
    """Return a spec as a command line, so that `parse(split(line(spec)))` is the same spec.

    Args:
        spec: of any command; of `%%chat`, `parse_chat` reads what follows `%chat`.
        masked: whether secrets are shown as ``***``.

    Example:
        >>> from byzer_magic.commands.parser import parse, split
        >>> line(parse(split("stat --model=gpt4o")))
        'stat --model gpt4o'
    """
    flags: list[str] = []
    names: list[str] = []
    for opt in options_of(spec):
        value = getattr(spec, opt.name)
        if value == opt.default and not opt.required:
            continue
        shown = visible(opt, value) if masked else value
        if opt.positional:
            names.append(str(shown))
        else:
            flags += _flag_words(opt, shown)
    parts = [name_of(type(spec)).split(), flags, names]
    return _chat_line(spec, flags) if isinstance(spec, ChatSpec) else " ".join(_arranged(*parts))


def _flag_words(opt: Option, value: Any) -> list[str]:
    flag = f"--{opt.name}"
    if opt.kind == "bool":
        return [flag]
    if opt.kind == "texts":
        return [word for text in value for word in _flag_words(replace(opt, kind="text"), text)]
    if opt.kind != "params":
        values = value if isinstance(value, tuple) else (value,)
        text = durations.written(value) if opt.kind == "duration" else ",".join(map(str, values))
        return [quote(f"{flag}={text}")] if text == "--" or _is_like_flag(text) else [flag, quote(text)]
    pairs = [f"{name}={text}" for name, text in value.items()]
    alone = [pair for pair in pairs if _is_like_flag(pair) or (opt.several and is_open(pair))]
    plain = [quote(pair) for pair in pairs if pair not in alone]
    return [*([flag, *plain] if plain else []), *(quote(f"{flag}={pair}") for pair in alone)]


def _is_like_flag(word: str) -> bool:
    """Return whether the parser would take a word for a flag, or for one with a wrong dash."""
    return bool(FLAG.fullmatch(word)) or typography.looks_like_flag(word)


def _arranged(command: list[str], flags: list[str], names: list[str]) -> list[str]:
    """Return the words in the usual order: names before flags, a prompt last."""
    if any(_is_like_flag(name) or name in ("--", "-h") for name in names):
        return [*command, *flags, "--", *map(quote, names)]
    return [*command, *map(quote, names[:1]), *flags, *map(quote, names[1:])]


def _chat_line(spec: ChatSpec, flags: list[str]) -> str:
    words = ["%chat", quote(spec.model), *flags]
    if _is_like_flag(spec.model) or spec.model in ("--", "-h"):
        words = ["%chat", *flags, quote(f"--model={spec.model}")]
    if spec.query is None:
        return " ".join(words)
    first = "".join(spec.query.split(maxsplit=1)[:1])
    as_is = (
        spec.query[:1].strip()
        and spec.query[0] not in "-'\"\\"
        and not (spec.params or spec.grid or _is_like_flag(first))
    )
    return " ".join([*words, spec.query if as_is else f"-- {spec.query}"])
