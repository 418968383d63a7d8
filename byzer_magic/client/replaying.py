"""Whether this process replays a tape in place of asking models; `tape_connection` has the connection that does."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from byzer_magic.errors import JournalError
from byzer_magic.files import paths

if TYPE_CHECKING:
    from byzer_magic.client.tape_connection import TapeConnection
    from byzer_magic.config import Settings


class Replay:
    """What is replayed: as the settings say, until a tape is chosen or replaying is turned off."""

    def __init__(self) -> None:
        self._chosen: TapeConnection | None = None
        self._off = False
        self._of_settings: tuple[tuple[str, float], TapeConnection] | None = None
        self._opening = threading.Lock()

    def start(self, path: str, speed: float) -> TapeConnection:
        """Replay a tape from now on; return the connection to it.

        Args:
            path: of the tape.
            speed: how many times as fast as it was recorded; 0: at once.

        Raises:
            JournalError: it cannot be read.
        """
        self._chosen, self._off = _opened(path, speed), False
        return self._chosen

    def stop(self) -> None:
        """Ask models from now on, also where the settings name a tape."""
        self._chosen, self._of_settings, self._off = None, None, True

    def as_set(self) -> None:
        """Replay what the settings say, from now on."""
        self._chosen, self._of_settings, self._off = None, None, False

    def connection(self, settings: Settings) -> TapeConnection | None:
        """Return the connection to the tape that is replayed; None where models are asked.

        Raises:
            JournalError: the tape of the settings cannot be read.
        """
        if self._chosen is not None or self._off or not settings.replay:
            return self._chosen
        wanted = settings.replay, settings.replay_speed
        with self._opening:  # threads may ask at the same moment
            if self._of_settings is None or self._of_settings[0] != wanted:
                self._of_settings = wanted, _opened(*wanted)
            return self._of_settings[1]


REPLAY = Replay()
"""Of this process."""


def _opened(path: str, speed: float) -> TapeConnection:
    from byzer_magic.client.tape_connection import TapeConnection
    from byzer_magic.journal.recordings import Recordings

    if not paths.exists(tape := found(path)):
        raise JournalError(*paths.why_missing(path, ".jsonl"))
    return TapeConnection(Recordings(tape), speed)


def found(path: str) -> Path:
    """Return where a tape is; a relative path may also be meant from where the shell's command was typed.

    `jupyter execute` runs a notebook in its own folder, and not in that of the shell.

    Example:
        >>> found("/tmp/tape.jsonl")
        PosixPath('/tmp/tape.jsonl')
    """
    here = Path(paths.expanded(path))
    if not here.exists() and (typed := Path(os.environ.get("PWD", ""), path)).exists():
        return typed
    return here
