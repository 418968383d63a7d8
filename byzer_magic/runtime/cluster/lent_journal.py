"""The files of a project for the actors of a Ray Dataset on other machines: a process on the user's own machine.

There is none while all of them run on that. The first one elsewhere has it started, all of the same project share it,
and it ends itself a while after the last one was heard of, whatever became of the program that made the Dataset.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from byzer_magic import errors
from byzer_magic.journal.bounds import Bounds
from byzer_magic.journal.lending import Call, Lender, Reply
from byzer_magic.runtime.cluster.attach import CONTROL_NAMESPACE

NAME = "journal-"
CALL_SECONDS = 60.0
"""How long a group of calls may take, with the start of the process."""
TEND_SECONDS = 5.0
IDLE_SECONDS = 60.0
"""So long after the last call the process ends itself."""
AT_ONCE = 32
"""Processes that are answered at the same time."""


class LentJournal:
    """The actor with the files.

    Args:
        folder: the project folder.
        host: the machine that it is on.
        bounds: those of its journal.
    """

    def __init__(self, folder: str, host: str, bounds: Bounds) -> None:
        self._project = folder, host, bounds
        self._lender: Lender | None = None
        self._lock = threading.Lock()
        threading.Thread(target=self._tend, name="byzer-journal-tend", daemon=True).start()

    def do(self, name: str, number: int, calls: Sequence[Call]) -> Reply:
        """Do what a process wants; see `Lender.do`.

        Raises:
            JournalError: the project is not on this machine, or its journal cannot be used.
        """
        with self._lock:
            if self._lender is None:
                self._lender = Lender(*self._project)
        return self._lender.do(name, number, calls)

    def _tend(self) -> None:
        began = time.monotonic()
        idle = 0.0
        while idle < IDLE_SECONDS:
            time.sleep(TEND_SECONDS)
            idle = self._lender.tend() if self._lender is not None else time.monotonic() - began
        ray.kill(ray.get_runtime_context().current_actor)


class Way:
    """How calls reach the project on another machine (see `Line`).

    Args:
        node: the Ray node of the user's machine.
        folder: the project folder there.
        host: the machine's name.
        bounds: those of the journal.
    """

    def __init__(self, node: str, folder: str, host: str, bounds: Bounds) -> None:
        self._node, self._project = node, (folder, host, bounds)
        self._actor: Any = None

    def __call__(self, name: str, number: int, calls: Sequence[Call]) -> Reply:
        """Send a group of calls; return what came of it.

        Raises:
            ConnectionError: it has not arrived, or no reply has.
            JournalError: the project is not there.
        """
        try:
            if self._actor is None:
                self._actor = self._made()
            reply: Reply = ray.get(self._actor.do.remote(name, number, calls), timeout=CALL_SECONDS)
        except errors.JournalError as err:  # Ray's own class, too, with a traceback in its text
            raise getattr(err, "cause", err) from None
        except (ray.exceptions.RayError, ValueError) as err:  # ValueError: the actor's name was just freed
            self._actor = None
            raise ConnectionError(str(err).strip().partition("\n")[0]) from err
        return reply

    def _made(self) -> Any:
        """Return the actor, started where there is none."""
        folder, host, _bounds = self._project
        name = hashlib.sha256(f"{host}:{folder}".encode()).hexdigest()[:16]
        return (
            ray.remote(LentJournal)
            .options(
                name=f"{NAME}{name}",
                namespace=CONTROL_NAMESPACE,
                get_if_exists=True,
                lifetime="detached",
                num_cpus=0,
                max_restarts=0,  # who needs it has it started again
                max_concurrency=AT_ONCE,
                scheduling_strategy=NodeAffinitySchedulingStrategy(self._node, soft=False),
            )
            .remote(*self._project)
        )


def node() -> str:
    """Return the id of the Ray node of this process; empty where it is not connected to Ray."""
    return str(ray.get_runtime_context().get_node_id()) if ray.is_initialized() else ""
