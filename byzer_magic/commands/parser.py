"""Text to spec and back: the one parser of the magics, the shell commands and `--file`.

The flags come from the specs alone. It is a loop of our own rather than argparse, because prompts must stay as
typed, values may begin with dashes, and every error is one sentence with the next step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from byzer_magic.commands import yaml_file
from byzer_magic.commands.completion import complete
from byzer_magic.commands.help import HelpRequested, help_text
from byzer_magic.commands.options import Option, Spec, convert, options_of, visible
from byzer_magic.commands.spec import COMMANDS, EASY_COMMANDS, ChatSpec, name_of
from byzer_magic.commands.tokens import FLAG, ChatLine, Words, bare, quote, split, split_block
from byzer_magic.errors import CommandError, suggest
from byzer_magic.log import redact

__all__ = [
    "HelpRequested", "build", "check_placeholder", "complete", "help_text", "line", "parse", "parse_chat", "split",
    "split_block",
]  # fmt: skip

_PLACEHOLDER = re.compile(r"<[^<>]+>")

S = TypeVar("S", bound=Spec)


def read_text(path: str) -> str:
    """Return the text of a file that `--file` names.

    Raises:
        CommandError: it cannot be read.
    """
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except OSError as err:
        raise CommandError(f"Cannot read {path}: {err.strerror}.", "Check the path behind --file.") from err
    except UnicodeDecodeError as err:
        raise CommandError(f"{path} is not UTF-8 text.", "--file takes a YAML file.") from err


def parse(words: Sequence[str], read_file: Callable[[str], str] = read_text, *, chinese: bool = False) -> Spec:
    """Return the spec that the words of a command say.

    Values of `--file` stand in for flags that are not given; the spec holds them all, and no `file` any more.

    Raises:
        CommandError: the words cannot be understood; the text says which and what next.
        HelpRequested: they ask for help.
    """
    cls, rest = _command(bare(list(words)), chinese=chinese)
    given = _given(cls, Words(rest), chinese=chinese)
    for opt in options_of(cls):
        if isinstance(given.get(opt.name), str):
            check_placeholder(f"--{opt.name}", given[opt.name])
    return build(cls, _with_file(cls, given, read_file))


def parse_chat(text: str, *, chinese: bool = False) -> ChatSpec:
    """Return the spec of a `%chat` line, whose prompt is kept exactly as typed.

    Flags may stand before and behind the alias; the first other word, or `--`, begins the prompt.

    Raises:
        CommandError: there is no alias, or a flag cannot be understood.
        HelpRequested: the line asks for help.
    """
    given = _given(ChatSpec, ChatLine(text), chinese=chinese)
    check_placeholder("--model", given.get("model", ""))
    if not given.get("query"):  # a line that ends where its prompt would begin has none
        given.pop("query", None)
    return build(ChatSpec, given)


def _command(words: list[str], *, chinese: bool) -> tuple[type[Spec], list[str]]:
    if not words or words[0] in ("help", "--help", "-h"):
        raise HelpRequested(help_text(" ".join(words[1:]) or None, chinese=chinese))
    if words[0] != "easy":
        return _lookup(words[0], COMMANDS, "", (*COMMANDS, "easy")), words[1:]
    if not words[1:] or words[1] in ("--help", "-h"):
        raise HelpRequested(help_text("easy", chinese=chinese))
    return _lookup(words[1], EASY_COMMANDS, "easy ", EASY_COMMANDS), words[2:]


def _lookup(word: str, commands: Mapping[str, type[Spec]], before: str, known: Iterable[str]) -> type[Spec]:
    if word in commands:
        return commands[word]
    hint = suggest(word, known, f"Commands: {', '.join(known)}.")
    raise CommandError(f"Unknown command {before + word!r}.", hint)


def _given(cls: type[Spec], words: Words, *, chinese: bool) -> dict[str, Any]:
    """Return the values that the words give, by option; numbers are still text."""
    options = {opt.name: opt for opt in options_of(cls)}
    given: dict[str, Any] = {}
    positional_only = False
    while (word := words.peek()) is not None:
        if word in ("--help", "-h") and not positional_only:
            raise HelpRequested(help_text(name_of(cls), chinese=chinese))
        if word == "--" and not positional_only:
            positional_only = True
            words.take()
        elif FLAG.fullmatch(word) and not positional_only:
            _take_flag(cls, options, given, words)
        else:
            _take_positional(cls, given, words)
    return given


def _take_flag(cls: type[Spec], options: Mapping[str, Option], given: dict[str, Any], words: Words) -> None:
    typed, equals, value = words.take().removeprefix("--").partition("=")
    opt = options.get(typed.replace("-", "_"))
    if opt is None:
        raise CommandError(f"Unknown option --{typed}.", _near_flag(cls, typed))
    if opt.kind == "bool":
        if equals:
            raise CommandError(f"--{opt.name} takes no value.", f"Write --{opt.name} alone, or leave it out.")
        given[opt.name] = True
    elif opt.kind == "params":
        first = [value] if equals else []
        taken = _until_flag(words, pairs_only=cls is ChatSpec)  # a prompt may follow
        given.setdefault(opt.name, {}).update(_pairs(opt.name, [*first, *taken]))
    elif opt.kind == "texts":
        given[opt.name] = (*given.get(opt.name, ()), value if equals else _value_of(opt, words))
    else:
        given[opt.name] = value if equals else _value_of(opt, words)


def _near_flag(cls: type[Spec], typed: str) -> str:
    known = [f"--{opt.name}" for opt in options_of(cls) if not opt.positional]
    if not known:
        return f"{name_of(cls)} takes no options."
    return suggest(f"--{typed.replace('-', '_')}", known, f"{name_of(cls)} takes: {', '.join(known)}.")


def _value_of(opt: Option, words: Words) -> str:
    word = words.peek()
    if word is None or FLAG.fullmatch(word):
        hint = f"Write --{opt.name}={word} if that is its value." if word else f"Write --{opt.name} VALUE: {opt.help}."
        raise CommandError(f"--{opt.name} needs a value.", hint)
    return words.take()


def _until_flag(words: Words, *, pairs_only: bool) -> Iterable[str]:
    while (word := words.peek()) is not None and word != "--" and not FLAG.fullmatch(word):
        if pairs_only and "=" not in word:
            return
        yield words.take()


def _pairs(option: str, words: Iterable[str]) -> dict[str, str]:
    """Return key=value words as a dict; the first = divides, and of equal keys the last wins."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise CommandError(f"--{option}: {redact(word)!r} is not key=value.", _pair_hint(word))
        check_placeholder(name, value)
        found[name] = value
    return found


def _pair_hint(word: str) -> str:
    if word.strip().startswith(("\\", "-", "\N{EN DASH}", "\N{EM DASH}")) or word.endswith("\\"):
        return r"It looks like a lost line break: end each line with \ and nothing behind it, and begin flags with --."
    return "Write name=value without spaces around =, and put a value that has spaces in quotes."


def _take_positional(cls: type[Spec], given: dict[str, Any], words: Words) -> None:
    positional = [opt.name for opt in options_of(cls) if opt.positional]
    free = [name for name in positional if name not in given]
    if not free:
        hint = "Put a value that has spaces in quotes." if given else f"Example: {cls.examples[0]}"
        raise CommandError(f"{name_of(cls)} does not understand {redact(str(words.peek()))!r}.", hint)
    takes_rest = len(positional) > 1 and free[0] == positional[-1]
    given[free[0]] = words.rest() if takes_rest else words.take()


def check_placeholder(name: str, value: str) -> None:
    """Raise CommandError for a value that a guide leaves to its reader."""
    if _PLACEHOLDER.fullmatch(value):
        raise CommandError(f"{name} is still the placeholder {value}.", f"Replace {value} with a real value.")


def _with_file(cls: type[Spec], given: dict[str, Any], read_file: Callable[[str], str]) -> dict[str, Any]:
    path = None if cls.keeps_file else given.pop("file", None)
    if path is None:
        return given
    found = yaml_file.read(cls, read_file(path), path)
    for name, value in found.items():
        for key, text in _texts_in(name, value):
            check_placeholder(f"{key} in {path}", text)
    if "infer_params" in found:
        found["infer_params"] |= given.pop("infer_params", {})
    typed = {
        opt.name: _typed(opt, found[opt.name], f"{opt.name} in {path}") for opt in options_of(cls) if opt.name in found
    }
    return typed | given


def _texts_in(name: str, value: Any) -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        return list(value.items())
    return [(name, text) for text in value] if isinstance(value, tuple) else [(name, value)]


def build(cls: type[S], given: Mapping[str, Any]) -> S:
    """Return the spec that these values are; a text is read as the flag's value is.

    Raises:
        CommandError: one is missing, not allowed, or of the wrong type.
    """
    options = options_of(cls)
    values = {opt.name: _typed(opt, given[opt.name], f"--{opt.name}") for opt in options if opt.name in given}
    for opt in options:
        if opt.required and opt.name not in values:
            what = opt.name.upper() if opt.positional else f"--{opt.name}"
            raise CommandError(f"{name_of(cls)} needs {what}.", f"It is the {opt.help}. Example: {cls.examples[0]}")
    return cls(**values)


def _typed(opt: Option, value: Any, label: str) -> Any:
    if not isinstance(value, str) or opt.kind in ("text", "texts", "params"):
        return value
    return convert(opt, value, label)


def line(spec: Spec, *, masked: bool = False) -> str:
    """Return the command that stands for a spec; `masked` hides its secrets.

    `parse(split(line(spec)))` gives the same spec, and `parse_chat` does so for what follows `chat`.
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
        text = str(value)
        return [quote(f"{flag}={text}")] if text == "--" or FLAG.fullmatch(text) else [flag, quote(text)]
    pairs = [f"{name}={text}" for name, text in value.items()]
    plain = [quote(pair) for pair in pairs if not FLAG.fullmatch(pair)]
    return [*([flag, *plain] if plain else []), *(quote(f"{flag}={pair}") for pair in pairs if FLAG.fullmatch(pair))]


def _arranged(command: list[str], flags: list[str], names: list[str]) -> list[str]:
    """Return the words in the order people write: names before flags, a prompt last."""
    if any(FLAG.fullmatch(name) or name in ("--", "-h") for name in names):
        return [*command, *flags, "--", *map(quote, names)]
    return [*command, *map(quote, names[:1]), *flags, *map(quote, names[1:])]


def _chat_line(spec: ChatSpec, flags: list[str]) -> str:
    words = ["%chat", quote(spec.model), *flags]
    if FLAG.fullmatch(spec.model) or spec.model in ("--", "-h"):
        words = ["%chat", *flags, quote(f"--model={spec.model}")]
    if spec.query is None:
        return " ".join(words)
    as_is = spec.query[:1].strip() and spec.query[0] not in "-'\"\\" and not spec.params
    return " ".join([*words, spec.query if as_is else f"-- {spec.query}"])
