"""`byzerllm` and `easy-byzerllm`: the same commands in a shell.

Stdout has only the result, everything else goes to stderr. The exit status is 0 on success, 2 for a wrong command line,
130 after Ctrl-C, else 1.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from byzer_magic import config
from byzer_magic.actions.actions import run_all
from byzer_magic.actions.context import Context
from byzer_magic.actions.replay import file_reader
from byzer_magic.actions.terminal import Terminal
from byzer_magic.client.manager import Manager
from byzer_magic.client.scope import SCOPE
from byzer_magic.commands import parser
from byzer_magic.commands.registry import command_of
from byzer_magic.commands.secrets import known_here
from byzer_magic.commands.spec import ConnectSpec, DeploySpec, EasyDeploySpec, StatSpec
from byzer_magic.commands.tokens import from_shell
from byzer_magic.errors import ByzerError, CommandError
from byzer_magic.i18n import gettext, lazy_gettext as _, set_language
from byzer_magic.journal.entry import Origin
from byzer_magic.log import redact
from byzer_magic.results import Result


def main(words: Sequence[str] | None = None) -> int:
    """Run `byzerllm`; return its exit status."""
    return _run(list(sys.argv[1:] if words is None else words))


def easy_main(words: Sequence[str] | None = None) -> int:
    """Run `easy-byzerllm`; return its exit status."""
    return _run(["easy", *(sys.argv[1:] if words is None else words)])


def _run(words: list[str]) -> int:
    status = _status(words, Terminal())
    try:
        sys.stdout.flush()
    except (OSError, AttributeError):  # what could not be written is still in it: Python would try again at its end
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _status(words: list[str], output: Terminal) -> int:
    try:
        return _do(words, output)
    except CommandError as err:
        output.say(gettext("Error: {error}", error=_shown(err, words)))
        return 2
    except ByzerError as err:
        output.say(gettext("Error: {error}", error=_shown(err, words)))
        return 1
    except KeyboardInterrupt:
        output.say(gettext("Interrupted."))
        return 130
    except BrokenPipeError:  # the reader of stdout has closed it, e.g. `| head`
        return 1


def _shown(err: ByzerError, words: Sequence[str]) -> str:
    """Return the text of an error without secrets, those of the environment and of the command among them."""
    return str(redact(err.localized(), known_here(" ".join(words), os.environ)))


def _do(words: list[str], output: Terminal) -> int:
    settings = config.load()
    set_language(settings.lang)
    try:
        item = parser.parse(from_shell(words), file_reader(settings))
    except parser.HelpRequested as wanted:
        output.text(str(wanted))
        return 0
    if not isinstance(item, ConnectSpec | DeploySpec | EasyDeploySpec):  # a deploy need not follow
        settings = replace(settings, spare=0)
    hint = command_of(item).notebook_only
    if hint or (isinstance(item, StatSpec) and item.df):
        raise CommandError(_("This command works in a notebook only."), hint or _("In a shell, use: stat --json"))
    SCOPE.begin(Origin("shell"))
    value = run_all(Context(manager=Manager(settings, output), output=output), [item])
    return 130 if isinstance(value, Result) and value.interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
