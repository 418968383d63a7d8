"""Help texts in the active language, made from the specs alone."""

from __future__ import annotations

from collections.abc import Iterable

from byzer_magic.commands.options import Option, Spec, options_of
from byzer_magic.commands.registry import group_in
from byzer_magic.commands.spec import all_commands
from byzer_magic.errors import CommandError, suggest
from byzer_magic.i18n import gettext as _, lazy_gettext, listed, localized, pad, width

_VALUES = {"text": "TEXT", "texts": "TEXT", "int": "N", "float": "X", "duration": "TIME", "params": "KEY=VALUE ..."}


class HelpRequested(Exception):
    """The line asks for help; `str()` of this is the text to show."""


def help_text(name: str | None = None) -> str:
    """Return the help of a command, of all `easy` commands, or of all commands.

    Args:
        name: `deploy`, `easy chat`, `easy`, ...; nothing for all commands.

    Raises:
        CommandError: the command is unknown.

    Example:
        >>> print(help_text("shutdown").splitlines()[0])
        Stop the local Ray that byzer-magic started, and all its deployments.
    """
    known = all_commands()
    if not name or (name not in known and group_in([name], known)):
        return _overview(f"{name} " if name else "")
    if name not in known:
        hint = suggest(str(name), known, lazy_gettext("Commands: {names}.", names=listed(known)))
        raise CommandError(lazy_gettext("Unknown command {name}.", name=repr(name)), hint)
    return _command_help(str(name), known[str(name)])


def option_text(opt: Option) -> str:
    """Return one option as the help of its command shows it."""
    return f"{_flag(opt)}  {_description(opt)}"


def _overview(start: str) -> str:
    rows = [(name, localized(cls.summary)) for name, cls in all_commands().items() if name.startswith(start)]
    usage = "%byzer COMMAND ... | byzerllm COMMAND ..."
    more = "%byzer help COMMAND | byzerllm COMMAND --help"
    return "\n".join(
        [_("Usage: {line}", line=usage), "", _("Commands:"), *columns(rows), "", _("More: {line}", line=more)]
    )


def _command_help(name: str, cls: type[Spec]) -> str:
    rows = [(_flag(opt), _description(opt)) for opt in options_of(cls)]
    lines = [localized(cls.summary), "", _("Usage: {line}", line=_usage(name, cls))]
    if rows:
        lines += ["", _("Options:"), *columns(rows)]
    lines += ["", _("Examples:"), *(f"  {example}" for example in cls.examples)]
    return "\n".join(lines)


def columns(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Return rows as lines of two aligned columns; a Chinese character takes two cells.

    Example:
        >>> columns([("模型", "model"), ("a", "b")])
        ['  模型  model', '  a     b']
    """
    rows = list(rows)
    column = max((width(left) for left, _right in rows), default=0)
    return [f"  {pad(left, column)}  {right}" for left, right in rows]


def _usage(name: str, cls: type[Spec]) -> str:
    options = options_of(cls)
    required = [_flag(opt) for opt in options if opt.required and not opt.positional]
    rest = [_("[options]")] if any(not opt.required and not opt.positional for opt in options) else []
    names = [opt.name.upper() if opt.required else f"[{opt.name.upper()}]" for opt in options if opt.positional]
    return " ".join([name, *required, *rest, *names])


def _flag(opt: Option) -> str:
    if opt.positional:
        return opt.name.upper()
    return f"--{opt.name} {_VALUES[opt.kind]}" if opt.kind in _VALUES else f"--{opt.name}"


def _description(opt: Option) -> str:
    notes = []
    if opt.required:
        notes.append(_("required"))
    elif opt.default is not None and opt.kind not in ("bool", "params", "texts"):
        notes.append(_("default: {value}", value=opt.shown_default))
    if opt.choices:
        notes.append(_("one of: {choices}", choices=listed(opt.choices)))
    text = str(localized(opt.help))
    return _("{text} ({notes})", text=text, notes=_("; ").join(notes)) if notes else text
