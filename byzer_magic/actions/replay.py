"""`replay`: a tape answers in place of the models, and commands about deployments say so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from byzer_magic.actions.context import Context
from byzer_magic.catalog import presets
from byzer_magic.client.replaying import REPLAY
from byzer_magic.client.tape_connection import TapeConnection
from byzer_magic.commands import journal_specs as specs, parser
from byzer_magic.commands.options import Spec
from byzer_magic.commands.registry import LISTED, command_of
from byzer_magic.commands.spec import DeploySpec, EasyDeploySpec
from byzer_magic.config import Settings
from byzer_magic.errors import CommandError
from byzer_magic.i18n import gettext as _, listed, ngettext


def start(context: Context, item: specs.ReplaySpec) -> None:
    """Replay a tape from now on; without one, say what is replayed.

    Raises:
        JournalError: it cannot be read.
    """
    settings = context.manager.settings
    if item.path is None:
        tape = REPLAY.connection(settings)
        context.output.say(_("Nothing is replayed.") if tape is None else _state(tape))
        return
    speed = settings.replay_speed if item.speed is None else item.speed
    context.output.say(_state(REPLAY.start(item.path, speed)))


def stop(context: Context, _item: specs.ReplayOffSpec) -> None:
    """Ask models again from now on."""
    REPLAY.stop()
    context.output.say(_("Replaying is off; models are asked."))


def _state(tape: TapeConnection) -> str:
    recordings = ngettext("{count} recording", "{count} recordings", count=len(tape.tape))
    return _("Replaying {path}: {recordings} of {aliases}.", path=tape.tape.path, recordings=recordings,
             aliases=listed(tape.tape.aliases) or _("no model"))  # fmt: skip


def skipped(context: Context, name: str) -> bool:
    """Say that a command does nothing, where a tape is replayed; return whether that is so."""
    if (tape := REPLAY.connection(context.manager.settings)) is None:
        return False
    context.output.say(_("{command}: nothing was done; {path} is replayed.", command=name, path=tape.tape.path.name))
    return True


def file_reader(settings: Settings) -> Callable[[str], str]:
    """Return what reads the file that `--file` names, for the parser.

    Readers of a published notebook have its tape, and seldom its deployments' files: while a tape is replayed, one that
    cannot be read stands for a deployment of the file's name, which `run` does not make.
    """

    def read(path: str) -> str:
        try:
            return parser.read_text(path)
        except CommandError:
            if REPLAY.connection(settings) is None:
                raise
            return f"model: {json.dumps(Path(path).name)}"

    return read


def run(context: Context, item: Spec) -> Any:
    """Run a command, or say in place of it what a tape has: while one is replayed, there are no deployments."""
    row = command_of(item)
    tape = REPLAY.connection(context.manager.settings) if row.replayed else None  # one that is missing can be left
    if tape is None or getattr(item, "df", False):  # a cell goes on with the frame
        return row.runner(context, item)
    if row.replayed == LISTED:
        context.output.say(_state(tape))
    elif isinstance(item, DeploySpec | EasyDeploySpec):
        alias = (item if isinstance(item, DeploySpec) else presets.spec(item)).model
        context.output.say(_("{alias}: not deployed; {path} is replayed.", alias=alias, path=tape.tape.path.name))
    else:
        skipped(context, row.name)
    return None
