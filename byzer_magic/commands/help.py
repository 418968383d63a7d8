"""Help texts, made from the specs alone."""

from __future__ import annotations

from byzer_magic.commands.options import Option, Spec, options_of, suggest
from byzer_magic.commands.spec import all_commands
from byzer_magic.errors import CommandError

_VALUES = {"text": "TEXT", "texts": "TEXT", "int": "N", "float": "X", "params": "KEY=VALUE ..."}
_CHINESE = {
    "Usage": "用法",
    "Commands": "命令",
    "Options": "选项",
    "Examples": "示例",
    "options": "选项",
    "required": "必填",
    "default": "默认",
    "one of": "可选",
    "More": "更多",
}


class HelpRequested(Exception):
    """The line asks for help; `str()` of this is the text to show."""


def help_text(name: str | None = None, *, chinese: bool = False) -> str:
    """Return the help of a command (`deploy`, `easy chat`), of `easy`, or of all commands.

    Raises:
        CommandError: there is no such command.
    """
    known = all_commands()
    if name in (None, "", "easy"):
        return _overview("easy " if name else "", chinese=chinese)
    if name not in known:
        raise CommandError(f"Unknown command {name!r}.", suggest(str(name), known, f"Known: {', '.join(known)}."))
    return _command_help(str(name), known[str(name)], chinese=chinese)


def option_text(opt: Option, *, chinese: bool) -> str:
    """Return one option as it stands in the help of its command."""
    return f"{_flag(opt)}  {_description(opt, chinese=chinese)}"


def _word(text: str, *, chinese: bool) -> str:
    return _CHINESE[text] if chinese else text


def _overview(start: str, *, chinese: bool) -> str:
    rows = [
        (name, cls.summary_zh if chinese else cls.summary)
        for name, cls in all_commands().items()
        if name.startswith(start)
    ]
    width = max(len(left) for left, _ in rows)
    return "\n".join(
        [
            f"{_word('Usage', chinese=chinese)}: %byzer COMMAND ... | byzerllm COMMAND ...",
            "",
            f"{_word('Commands', chinese=chinese)}:",
            *(f"  {left:{width}}  {right}" for left, right in rows),
            "",
            f"{_word('More', chinese=chinese)}: %byzer help COMMAND, byzerllm COMMAND --help",
        ]
    )


def _command_help(name: str, cls: type[Spec], *, chinese: bool) -> str:
    rows = [(_flag(opt), _description(opt, chinese=chinese)) for opt in options_of(cls)]
    width = max([len(left) for left, _ in rows], default=0)
    lines = [
        cls.summary_zh if chinese else cls.summary,
        "",
        f"{_word('Usage', chinese=chinese)}: {_usage(name, cls, chinese=chinese)}",
    ]
    if rows:
        lines += ["", f"{_word('Options', chinese=chinese)}:", *(f"  {left:{width}}  {right}" for left, right in rows)]
    lines += ["", f"{_word('Examples', chinese=chinese)}:", *(f"  {example}" for example in cls.examples)]
    return "\n".join(lines)


def _usage(name: str, cls: type[Spec], *, chinese: bool) -> str:
    options = options_of(cls)
    required = [_flag(opt) for opt in options if opt.required and not opt.positional]
    rest = (
        [f"[{_word('options', chinese=chinese)}]"]
        if any(not opt.required and not opt.positional for opt in options)
        else []
    )
    names = [opt.name.upper() if opt.required else f"[{opt.name.upper()}]" for opt in options if opt.positional]
    return " ".join([name, *required, *rest, *names])


def _flag(opt: Option) -> str:
    if opt.positional:
        return opt.name.upper()
    return f"--{opt.name} {_VALUES[opt.kind]}" if opt.kind in _VALUES else f"--{opt.name}"


def _description(opt: Option, *, chinese: bool) -> str:
    notes = []
    if opt.required:
        notes.append(_word("required", chinese=chinese))
    elif opt.default is not None and opt.kind not in ("flag", "params", "texts"):
        notes.append(f"{_word('default', chinese=chinese)}: {opt.default}")
    if opt.choices:
        notes.append(f"{_word('one of', chinese=chinese)}: {', '.join(opt.choices)}")
    text = (opt.zh if chinese else opt.help) or opt.help
    return f"{text} ({'; '.join(notes)})" if notes else text
