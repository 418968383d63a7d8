"""Completion of command lines, as a pure function of the text before the cursor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from byzer_magic.commands.options import Option, Spec, options_of
from byzer_magic.commands.registry import group_in, in_words
from byzer_magic.commands.spec import COMMANDS, AttachSpec, DeploySpec, QuerySpec, all_commands
from byzer_magic.commands.tokens import bare, split
from byzer_magic.errors import CommandError

Params = Callable[[str, str | None], Sequence[str]]
"""Returns the parameters of a type and engine, as words like `saas.model=`."""


HUBS = ("hf", "ms")
"""How models in hubs begin; what else a model may be is a path."""


@dataclass
class _Seen:
    """What the words before the last one contain."""

    values: dict[str, str] = field(default_factory=dict)
    params: list[str] = field(default_factory=list)
    waiting: Option | None = None
    """The option whose value is next."""


def complete(
    text_before_cursor: str,
    aliases: Sequence[str] = (),
    preset_names: Sequence[str] = (),
    kinds: Sequence[str] = (),
    params: Params | None = None,
    models: Callable[[], Sequence[str]] = tuple,
    answers: Callable[[], Sequence[str]] = tuple,
) -> list[str]:
    """Return the words that may replace the last, partial word, which is empty after a space.

    Paths are left to the caller: for them, and where nothing fits, the list is empty.

    Args:
        text_before_cursor: the command line, without a magic before it.
        aliases: of the deployments.
        preset_names: for `easy deploy`.
        kinds: values of `--pretrained_model_type`.
        params: returns the parameters of a type and engine.
        models: returns models of hubs; called where the last word begins like one.
        answers: returns the ids of the answers that deployments keep; called where one is expected.

    Example:
        >>> complete("undeploy --model gp", aliases=["gpt4o", "llama"])
        ['gpt4o']
    """
    try:
        words = split(text_before_cursor)
    except CommandError:
        return []
    partial = "" if not words or text_before_cursor[-1:].isspace() else words.pop()
    words = words if words[:1] == ["%%chat"] else bare(words)
    cls, rest = _command(words)
    if cls is None:
        return _starting(partial, _command_names(words))
    sources = {"alias": aliases, "preset": preset_names, "kind": kinds}
    if partial.rpartition("=")[2].startswith(HUBS):
        sources["model"] = models()
    if cls is AttachSpec or "--attach" in rest:
        ids = answers()
        sources |= {"answer": [*ids, *aliases], "alias": [*ids, *aliases]}
    group = [] if rest else group_in(words, all_commands())
    return _starting(partial, [*group, *_candidates(cls, rest, partial, sources, params)])


def _starting(partial: str, candidates: Sequence[str]) -> list[str]:
    return [word for word in candidates if word.startswith(partial)]


def _command(words: list[str]) -> tuple[type[Spec] | None, list[str]]:
    known = all_commands()
    name, taken = in_words(words, known)
    return (None, []) if group_in(words, known) and len(words) > taken else (known.get(name), words[taken:])


def _command_names(words: list[str]) -> Sequence[str]:
    if words and (group := group_in(words, all_commands())):
        return group
    firsts = [name for name in COMMANDS if " " not in name]
    if words == ["help"]:
        return [*firsts, "easy"]
    return [*firsts, "easy", "help"] if not words else []


def _candidates(
    cls: type[Spec], rest: list[str], partial: str, sources: Mapping[str, Sequence[str]], params: Params | None
) -> list[str]:
    seen = _read(cls, rest)
    if "query" in seen.values and cls is not QuerySpec:  # the prompt has begun
        return []
    flags = [f"--{opt.name}" for opt in options_of(cls) if opt.name not in seen.values and not opt.positional]
    if partial.startswith("--"):
        name, equals, _ = partial.partition("=")
        opt = {f"--{opt.name}": opt for opt in options_of(cls)}.get(name)
        return [f"{name}={value}" for value in _values(opt, sources)] if equals and opt else flags
    if seen.waiting is not None and seen.waiting.kind == "params":
        return [*_params(cls, seen, params), *flags]
    if seen.waiting is not None:
        return _values(seen.waiting, sources)
    free = [opt for opt in options_of(cls) if opt.positional and opt.name not in seen.values]
    return _values(free[0], sources) if free else flags


def _read(cls: type[Spec], words: list[str]) -> _Seen:
    options = {opt.name: opt for opt in options_of(cls)}
    seen = _Seen()
    for word in words:
        name, equals, value = word.removeprefix("--").replace("-", "_").partition("=")
        if word.startswith("--") and name in options:
            seen.values[name] = value
            seen.waiting = None if equals or options[name].kind == "bool" else options[name]
        else:
            _take(seen, options, word)
    return seen


def _take(seen: _Seen, options: dict[str, Option], word: str) -> None:
    if seen.waiting is not None and seen.waiting.kind == "params":
        seen.params.append(word.partition("=")[0])
    elif seen.waiting is not None:
        seen.values[seen.waiting.name] = word
        seen.waiting = None
    else:
        free = [opt.name for opt in options.values() if opt.positional and opt.name not in seen.values]
        seen.values.update(dict.fromkeys(free[:1], word))


def _values(opt: Option | None, sources: Mapping[str, Sequence[str]]) -> list[str]:
    return [] if opt is None else list(opt.choices or sources.get(opt.complete, ()))


def _params(cls: type[Spec], seen: _Seen, params: Params | None) -> list[str]:
    if params is None or cls is not DeploySpec:
        return []
    kind = seen.values.get("pretrained_model_type", "custom/auto")
    return [name for name in params(kind, seen.values.get("infer_backend")) if name.rstrip("=") not in seen.params]
