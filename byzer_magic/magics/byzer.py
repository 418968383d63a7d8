"""The magics themselves: parse, call, show."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from traitlets import Bool, Float, Unicode, observe

import byzer_magic
from byzer_magic import config
from byzer_magic.actions.actions import run_all
from byzer_magic.actions.replay import file_reader
from byzer_magic.client.manager import Manager
from byzer_magic.commands import parser, typography
from byzer_magic.commands.options import Spec, options_of
from byzer_magic.commands.registry import REGISTRY, command_of
from byzer_magic.errors import ByzerError, Cancelled, CommandError, ConfigError
from byzer_magic.i18n import lazy_gettext as _, set_language
from byzer_magic.magics import errors
from byzer_magic.magics.chat import Chats
from byzer_magic.magics.kept import Interrupted
from byzer_magic.magics.show import output_for
from byzer_magic.results import Result
from byzer_magic.widgets.context import Context

F = TypeVar("F", bound=Callable[..., Any])


def one_clean_block(method: F) -> F:
    """Show the package's errors as their text without a traceback, in a cell that has failed."""

    @functools.wraps(method)
    def call(self: ByzerMagics, line: str, cell: str | None = None) -> Any:
        try:
            set_language(self.settings.lang)
            return method(self, line, cell)
        except parser.HelpRequested as wanted:
            self.output.text(str(wanted))
        except KeyboardInterrupt:
            raise self.presented(Cancelled(_("Interrupted.")), line, cell) from None
        except ByzerError as err:
            if self.debug:
                raise
            raise self.presented(err, line, cell) from err.__cause__

    return call  # type: ignore[return-value]  # the same call, seen through its wrapper


def cell_option(line: str) -> str:
    """Return the option of the command on the first line of a cell that the text below it is; mostly empty.

    Example:
        >>> cell_option("map --model gpt4o_chat --df reviews"), cell_option("map --model m --prompt x"), cell_option("")
        ('prompt', '', '')
    """
    words = parser.split(line)
    row = REGISTRY.get(words[0]) if words else None
    given = row is not None and any(word.partition("=")[0] == f"--{row.cell}" for word in words)
    return "" if row is None or given else row.cell


@magics_class
class ByzerMagics(Magics):
    """Deploy models and chat with them from notebook cells."""

    lang = Unicode("", help="Language of texts and screens: en, zh, or empty for the locale.").tag(config=True)
    ray_address = Unicode("", help="Ray cluster to use: host:port, or auto.").tag(config=True)
    connect_seconds = Float(0.0, help="Timeout for connecting to a Ray cluster, in seconds.").tag(config=True)
    debug = Bool(default_value=False, help="Show the tracebacks of errors.").tag(config=True)

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.output = output_for(shell)
        self.remove: list[Callable[[], None]] = []
        """Undo what was added to the shell beside the magics."""
        self._write_docs()
        self.chats = Chats(shell, self.output)

    @observe("lang")
    def _write_docs(self, _change: object = None) -> None:
        """Let `%byzer?` and `%%chat?` show the help of the commands, in the language of the settings."""
        with contextlib.suppress(ConfigError):  # the first magic shows what is wrong in the settings' file
            set_language(self.settings.lang)
        for method, name in ((ByzerMagics.byzer, None), (ByzerMagics.chat, "%%chat")):
            method.__doc__ = parser.help_text(name)

    @property
    def settings(self) -> config.Settings:
        """Return the settings; `%config ByzerMagics` overrides file and environment."""
        return config.load(
            lang=self.lang or None, ray_address=self.ray_address or None, connect_seconds=self.connect_seconds or None
        )

    def manager(self) -> Manager:
        """Return a manager on the process's connection, with this shell's settings; it reports in its cells."""
        settings = self.settings
        manager = byzer_magic.default_manager().reporting_to(self.output, settings)
        set_language(settings.lang)
        return manager

    def variables(self) -> dict[str, Any]:
        """Return the notebook's variables that `${NAME}` can refer to."""
        return {
            name: value
            for name, value in self.shell.user_ns.items()
            if isinstance(value, str | int | float | os.PathLike)
        }

    def context(self) -> Context:
        """Return what commands run with in this notebook."""
        return Context(
            manager=self.manager(),
            output=self.output,
            shell=self.shell,
            namespace=self.shell.user_ns,
            variables=self.variables,
            sessions=self.chats.kept,
            keep=self.chats.results.put,
            has_kernel=getattr(self.shell, "kernel", None) is not None,
        )

    def presented(self, err: ByzerError, line: str, cell: str | None) -> ByzerError:
        """Return an error of a magic so that it is displayed as one clean block."""
        typed = f"{line}\n{cell or ''}"
        try:
            manager = self.manager()
        except ConfigError:  # it is the error
            manager = Manager(config.Settings(), self.output)
        return errors.presented(err, self.shell, manager, typed)

    @no_var_expand
    @line_cell_magic
    @one_clean_block
    def byzer(self, line: str, cell: str | None = None) -> Any:
        """Run byzer commands: `%byzer deploy ...`, `%byzer stat`, ... (`%byzer help` lists them)."""
        if cell is not None and (option := cell_option(line)):
            return self._run(parser.parse([*parser.split(line), f"--{option}={cell.strip()}"]))
        if cell is not None:
            commands = [self._parse(text) for text in parser.split_block(f"{line}\n{cell}")]
            return self._run(*commands)
        words = parser.split(line)
        if words[:1] in ([], ["help"]):
            raise parser.HelpRequested(parser.help_text(" ".join(words[1:]) or None))
        return self._run(parser.parse(words, file_reader(self.settings)))

    def _parse(self, text: str) -> Spec:
        item = parser.parse(parser.split(text), file_reader(self.settings))
        if (row := command_of(item)).notebook_only:
            raise CommandError(_("{command} works in %byzer only, not in %%byzer.", command=row.name))
        return item

    def _run(self, *commands: Spec) -> Any:
        """Run commands; a result has been shown and is in `_chat`, and is not shown again."""
        with self.chats.results.showing():
            value = run_all(self.context(), commands)
        if not isinstance(value, Result):
            return value
        if value.interrupted:
            raise Interrupted(_("Interrupted: the part that arrived is kept in _chat."))
        return None

    @no_var_expand
    @line_cell_magic
    @one_clean_block
    def chat(self, line: str, cell: str | None = None) -> None:
        """Chat with a deployed model: `%%chat alias` with the prompt in the cell, or `%chat alias prompt`."""
        item = parser.parse_chat(line)
        if cell is not None and item.query is not None:
            first = item.query.split(maxsplit=1)[0]
            if typography.looks_like_flag(first):
                raise typography.wrong_dash(first, [opt.name for opt in options_of(item)])
            raise CommandError(
                _("%%chat has an unexpected {text!r} on its first line.", text=item.query),
                _("Write the prompt below it. Options begin with two dashes: --session, --system, --out, ..."),
            )
        if item.attach:
            self.chats.attach(self.context(), item)
            return
        self.chats.chat(self.manager(), item, cell if cell is not None else item.query)
