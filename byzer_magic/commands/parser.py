"""Text to spec, and by `line` back: the parser of the magics, the shell commands and `--file`.

The flags come from the specs. We looked at argparse and click; no, because a prompt must stay exactly as typed, values
may begin with dashes, notebooks paste half-broken lines, and every error is one sentence with the next step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from byzer_magic.commands import former, typography, yaml_file
from byzer_magic.commands.aliases import SEPARATOR
from byzer_magic.commands.completion import complete
from byzer_magic.commands.help import HelpRequested, help_text
from byzer_magic.commands.line import line
from byzer_magic.commands.options import Option, Spec, convert, is_open, options_of
from byzer_magic.commands.registry import group_in, in_words
from byzer_magic.commands.spec import COMMANDS, EASY_COMMANDS, ChatSpec, name_of
from byzer_magic.commands.tokens import FLAG, ChatLine, Words, bare, split, split_block
from byzer_magic.errors import CommandError, suggest
from byzer_magic.files import paths, text_files
from byzer_magic.i18n import join, lazy_gettext as _, listed
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
    found = text_files.read(path, pipe=True)
    if found.problem:
        hint = _("Check the path after --file; it takes a YAML file in UTF-8.")
        raise CommandError(found.problem, paths.near(path, hint) if found.missing else hint)
    return found.text


def parse(words: Sequence[str], read_file: Callable[[str], str] = read_text) -> Spec:
    """Return the spec of a command.

    Options in `--file` are used where a flag is not given; the spec has their values, and no `file`.

    Args:
        words: the command's words, as `split` returns them; `byzerllm` or `!` may be in front.
        read_file: returns the text of the file that `--file` names.

    Raises:
        CommandError: the words are not a valid command.
        HelpRequested: they ask for help.

    Example:
        >>> parse(split("scale --model gpt4o --num_workers 8"))
        ScaleSpec(model='gpt4o', num_workers=8)
    """
    cls, rest = _command(bare(list(words)))
    given = _given(cls, Words(rest))
    for opt in options_of(cls):
        if isinstance(given.get(opt.name), str):
            _check_text(opt.name, f"--{opt.name}", given[opt.name])
        if opt.complete == "alias" and not str(given.get(opt.name, ".")).strip():
            raise CommandError(_("--{name} is empty.", name=opt.name), _("See: list"))
    return build(cls, _with_file(cls, given, read_file))


def parse_chat(text: str) -> ChatSpec:
    """Return the spec of a `%chat` line; the prompt is kept exactly as typed.

    Flags may be before and after the alias; the first other word, or `--`, begins the prompt.

    Raises:
        CommandError: the alias is missing, or a flag is not valid.
        HelpRequested: the line asks for help.

    Example:
        >>> parse_chat('gpt4o --temperature 0 Why "here"?').query
        'Why "here"?'
    """
    given = _given(ChatSpec, ChatLine(text))
    check_placeholder("--model", given.get("model", ""))
    for name, value in given.items():
        if isinstance(value, str) and name not in _PROSE:
            typography.check_quotes(f"--{name}", value)
    if "attach" in given:  # it may be the newest answer
        given.setdefault("model", "")
    if not given.get("query"):  # a line that ends where its prompt would begin has none
        given.pop("query", None)
    return build(ChatSpec, given)


def _command(words: list[str]) -> tuple[type[Spec], list[str]]:
    if not words or words[0] in ("help", "--help", "-h"):
        raise HelpRequested(help_text(" ".join(words[1:]) or None))
    name, count = in_words(words, COMMANDS)
    if (group := group_in(words[: count + 1], COMMANDS)) and len(words) > count:  # such as `serve keys`
        before = " ".join(words[: count + 1])
        if words[count + 1 :] in ([], ["--help"], ["-h"]):
            raise HelpRequested(help_text(before))
        names = {word: COMMANDS[f"{before} {word}"] for word in group}
        return _lookup(words[count + 1], names, f"{before} ", names), words[count + 2 :]
    if count > 1:
        return COMMANDS[name], words[count:]
    if words[0] != "easy":
        return _lookup(words[0], COMMANDS, "", (*COMMANDS, "easy")), words[1:]
    if not words[1:] or words[1] in ("--help", "-h"):
        raise HelpRequested(help_text("easy"))
    return _lookup(words[1], EASY_COMMANDS, "easy ", EASY_COMMANDS), words[2:]


def _lookup(word: str, commands: Mapping[str, type[Spec]], before: str, known: Iterable[str]) -> type[Spec]:
    if word in commands:
        return commands[word]
    if word in former.GONE_COMMANDS:
        raise CommandError(*former.GONE_COMMANDS[word])
    if typography.looks_like_flag(word):
        raise typography.wrong_dash(word, ["help"])
    hint = suggest(word, known, _("Commands: {names}.", names=listed(known)))
    raise CommandError(_("Unknown command {name}.", name=repr(before + word)), join(typography.explain(word), hint))


def _given(cls: type[Spec], words: Words) -> dict[str, Any]:
    """Return the values that the words give, by option; numbers are still text."""
    options = {opt.name: opt for opt in options_of(cls)}
    given: dict[str, Any] = {}
    positional_only = False
    while (word := words.peek()) is not None:
        if word in ("--help", "-h") and not positional_only:
            raise HelpRequested(help_text(name_of(cls)))
        if word == "--" and not positional_only:
            positional_only = True
            words.take()
        elif FLAG.fullmatch(word) and not positional_only:
            _take_flag(cls, options, given, words)
        elif not positional_only and typography.is_flag(word, {*options, "help"}):
            raise typography.wrong_dash(word, {*options, "help"})
        else:
            _take_positional(cls, given, words)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def _take_flag(cls: type[Spec], options: Mapping[str, Option], given: dict[str, Any], words: Words) -> None:
    typed, equals, value = words.take().removeprefix("--").partition("=")
    opt = options.get(typed.replace("-", "_"))
    if opt is None:
        raise CommandError(_("Unknown option --{name}.", name=typed), _near_flag(cls, typed))
    if opt.kind == "bool":
        if equals:
            raise CommandError(
                _("--{name} takes no value.", name=opt.name), _("Write --{name} alone, or leave it out.", name=opt.name)
            )
        given[opt.name] = True
    elif opt.kind == "params":
        first = [value] if equals else []
        taken = _until_flag(words, options, pairs_only=cls is ChatSpec, lists=opt.several)  # a prompt may follow
        given.setdefault(opt.name, {}).update(_pairs(opt.name, [*first, *taken]))
    elif opt.kind == "texts":
        given.setdefault(opt.name, []).append(value if equals else _value_of(opt, words, options))
    else:
        given[opt.name] = value if equals else _value_of(opt, words, options)


def _near_flag(cls: type[Spec], typed: str) -> str:
    known = [f"--{opt.name}" for opt in options_of(cls) if not opt.positional]
    if not known:
        return _("{command} takes no options.", command=name_of(cls))
    otherwise = _("Options of {command}: {names}.", command=name_of(cls), names=listed(known))
    return suggest(f"--{typed.replace('-', '_')}", known, otherwise)


def _value_of(opt: Option, words: Words, options: Collection[str]) -> str:
    word = words.peek()
    if word is not None and typography.is_flag(word, options):
        raise typography.wrong_dash(word, options)
    if word is None or FLAG.fullmatch(word):
        hint = (
            _("Write --{name}={value} if that is its value.", name=opt.name, value=word)
            if word
            else _("Write --{name} VALUE: {help}.", name=opt.name, help=opt.help)
        )
        raise CommandError(_("--{name} needs a value.", name=opt.name), hint)
    return words.take()


def _until_flag(words: Words, options: Collection[str], *, pairs_only: bool, lists: bool) -> Iterable[str]:
    while (word := words.peek()) is not None and word != "--" and not FLAG.fullmatch(word):
        if typography.is_flag(word, options):
            return
        if pairs_only and "=" not in word:
            return
        yield _with_list(words) if lists else words.take()


def _with_list(words: Words) -> str:
    """Take a word, and those that follow until its list in brackets ends."""
    taken = words.take()
    while is_open(taken) and words.peek() is not None:
        taken = f"{taken} {words.take()}"
    return taken


def _pairs(option: str, words: Iterable[str]) -> dict[str, str]:
    """Return key=value words as a dict; the first = separates, and the last of equal keys wins."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            if typography.looks_like_flag(word):
                raise typography.wrong_dash(word, ())
            message = _("--{name}: {word!r} is not key=value.", name=option, word=redact(word))
            raise CommandError(message, typography.explain(word) or _pair_hint(word))
        check_placeholder(name, value)
        if option == "infer_params":
            typography.check_quotes(name, value)
        found[name] = value
    return found


_LOST_BREAK = _(
    "A line break may have been lost: end each line with \\ and nothing after it, and begin options with --."
)


def _pair_hint(word: str) -> str:
    if not word.strip(" \t\r\n\\-^`") or word.endswith("\\") or word.startswith(("\\", "-")):
        return _LOST_BREAK
    return _("Write name=value without spaces around =, and put a value with spaces in quotes.")


def _take_positional(cls: type[Spec], given: dict[str, Any], words: Words) -> None:
    positional = [opt.name for opt in options_of(cls) if opt.positional]
    free = [name for name in positional if name not in given]
    if not free:
        raise _surplus(cls, given, words)
    takes_rest = len(positional) > 1 and free[0] == positional[-1]
    given[free[0]] = words.rest() if takes_rest else words.take()


def _surplus(cls: type[Spec], given: dict[str, Any], words: Words) -> CommandError:
    """Return the error for a word that a command does not take."""
    word = str(words.peek())
    if typography.looks_like_flag(word):
        return typography.wrong_dash(word, [opt.name for opt in options_of(cls)])
    odd = typography.explain(word) or typography.explain_quotes(" ".join([*map(str, given.values()), words.rest()]))
    hint = _("Put a value with spaces in quotes.") if given else _("Example: {example}", example=cls.examples[0])
    hint = hint if word.strip(" \t\r\n\\") else _LOST_BREAK
    return CommandError(
        _("{command} does not take {word!r}.", command=name_of(cls), word=redact(word)), join(odd, "" if odd else hint)
    )


_PROSE = ("query", "system")
"""Options whose text is in the user's own words, with any quotation marks."""


def _check_text(name: str, label: str, value: str) -> None:
    check_placeholder(label, value)
    if name not in _PROSE:
        typography.check_quotes(label, value)


def check_placeholder(name: str, value: str) -> None:
    """Check that a value is not a guide's placeholder, such as `<your-key>`.

    Raises:
        CommandError: the value is a placeholder.

    Example:
        >>> check_placeholder("--token", "<your-key>")
        Traceback (most recent call last):
        byzer_magic.errors.CommandError: --token is still the placeholder <your-key>.
        Replace <your-key> with a real value.
    """
    if _PLACEHOLDER.fullmatch(value):
        raise CommandError(
            _("{name} is still the placeholder {value}.", name=name, value=value),
            _("Replace {value} with a real value.", value=value),
        )


def _with_file(cls: type[Spec], given: dict[str, Any], read_file: Callable[[str], str]) -> dict[str, Any]:
    path = None if cls.keeps_file else given.pop("file", None)
    if path is None:
        return given
    found = from_yaml(cls, read_file(path), path)
    if "infer_params" in found:
        found["infer_params"] |= given.pop("infer_params", {})
    return found | given


def from_yaml(cls: type[Spec], text: str, path: str) -> dict[str, Any]:
    """Return the options in a YAML text, converted like a flag's values.

    Args:
        cls: the spec whose options they are.
        text: the YAML.
        path: the file's name, for errors.

    Raises:
        CommandError: it is not valid YAML, an option is unknown, or a value is a placeholder or of the wrong type.
    """
    found = yaml_file.read(cls, text, path)
    for name, value in found.items():
        for key, part in _texts_in(name, value):
            _check_text(key, f"{key} in {path}", part)
    return {
        opt.name: _typed(opt, found[opt.name], f"{opt.name} in {path}") for opt in options_of(cls) if opt.name in found
    }


def _texts_in(name: str, value: Any) -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        return list(value.items())
    return [(name, text) for text in value] if isinstance(value, tuple) else [(name, value)]


def build(cls: type[S], given: Mapping[str, Any]) -> S:
    """Return a spec of these values; a text is converted like a flag's value.

    Args:
        cls: the class of the spec.
        given: values by option.

    Raises:
        CommandError: one is missing, not allowed, or of the wrong type.

    Example:
        >>> from byzer_magic.commands.spec import ScaleSpec
        >>> build(ScaleSpec, {"model": "gpt4o", "num_workers": "8"}).num_workers
        8
    """
    options = options_of(cls)
    values = {opt.name: _typed(opt, given[opt.name], f"--{opt.name}") for opt in options if opt.name in given}
    for opt in options:
        if opt.required and opt.name not in values:
            what = opt.name.upper() if opt.positional else f"--{opt.name}"
            hint = _("{option}: {help}. Example: {example}", option=what, help=opt.help, example=cls.examples[0])
            raise CommandError(_("{command} needs {option}.", command=name_of(cls), option=what), hint)
    return cls(**values)


def _typed(opt: Option, value: Any, label: str) -> Any:
    if opt.kind == "text" and isinstance(value, str):
        return opt.renamed.get(value, value)
    if not isinstance(value, str) or opt.kind in ("texts", "params"):
        return value
    if opt.several and SEPARATOR.search(value):
        return tuple(convert(opt, part.strip(), label) for part in SEPARATOR.split(value))
    return convert(opt, value, label)
