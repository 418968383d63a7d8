"""A model over the rows of a Ray Dataset, by the Dataset's own methods: Ray Data distributes, the pool limits.

Each of its actors connects to the deployment by itself, and asks about one batch after the other as about a frame.
Their answers go into the journal of the project, and its purse pays for them, wherever they run: those on other
machines than the user's reach the files by a process on that one (`runtime.cluster.lent_journal`).
"""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from byzer_magic.client import journaling, spending
from byzer_magic.client.estimates import in_flight
from byzer_magic.client.model import Model
from byzer_magic.data.frames import finished
from byzer_magic.data.run import prepared
from byzer_magic.data.wanted import Wanted
from byzer_magic.errors import ByzerError, CommandError, JournalError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.journal.borrowed import BorrowedPurse, BorrowedStore, Line
from byzer_magic.journal.bounds import Bounds
from byzer_magic.journal.store import project_folder

BATCH_ROWS = 1024
"""Rows that an actor asks about together."""
SLOTS_PER_ACTOR = 32
MOST_ACTORS = 16
ACTOR_CPUS = 0.25
"""An actor mostly waits."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """The project of the user, and where it is."""

    folder: str
    host: str
    """The name of the machine."""
    node: str
    """The machine's node of Ray."""
    has_purse: bool = False

    @property
    def is_here(self) -> bool:
        """Return whether this process is on the machine, and sees the folder."""
        return socket.gethostname() == self.host and _node() == self.node and Path(self.folder).is_dir()


class Mapped:
    """What an actor of Ray Data does with a batch.

    Args:
        model: the model; connecting is done here.
        wanted: what the user wants.
        project: whose journal and purse are used.
    """

    def __init__(self, model: Model, wanted: Wanted, project: Project) -> None:
        self._model = model
        self._wanted = wanted
        self._line: Line | None = None
        if project.is_here:
            self._wanted = replace(wanted, folder=project.folder)
            spending.WALLET.project = Path(project.folder)  # an actor works in a folder of Ray's
        elif wanted.journal or project.has_purse:
            self._line = _line(model, project)
            journaling.JOURNAL.use(BorrowedStore(self._line))
            spending.WALLET.use(BorrowedPurse(self._line))
        self._model.manager.reach(model.alias)

    def __call__(self, batch: Any) -> Any:
        """Return a batch with its answers.

        Raises:
            JournalOutOfReach: the user's machine does not respond.
            ByzerError: the reason of all rows.
        """
        try:
            return self._answered(batch)
        except ByzerError as err:  # Ray Data shows the way that it has taken: what counts is what it says
            raise err.with_traceback(None) from None

    def _answered(self, batch: Any) -> Any:
        if self._line is not None:
            self._line.reach()
        manager = self._model.manager
        run = manager.run(prepared(manager, self._model.alias, batch, self._wanted))
        manager.run(run.run())
        found = finished(run)
        for name in run.shape.names:  # batches may have had different categories, to Arrow
            if str(found[name].dtype) == "category":
                found[name] = found[name].astype("str")
        found.attrs = {}
        return found


def _line(model: Model, project: Project) -> Line:
    from byzer_magic.runtime.cluster import lent_journal

    settings = model.manager.settings
    bounds = Bounds(megabytes=settings.journal_mb, days=settings.journal_days)
    return Line(lent_journal.Way(project.node, project.folder, project.host, bounds), project.host)


def _has_purse() -> bool:
    try:
        return spending.WALLET.open() is not None
    except JournalError:
        return True


def _node() -> str:
    from byzer_magic.runtime.cluster import lent_journal

    return lent_journal.node()


def map_dataset(model: Model, dataset: Any, wanted: Wanted, *, dry_run: bool) -> Any:
    """Return a Dataset that asks about the rows of another one when it is consumed.

    Args:
        model: the model.
        dataset: the rows.
        wanted: what the user wants.
        dry_run: an estimate was asked for.

    Raises:
        CommandError: what is wanted does not fit the model or the rows, or is for frames only.
        NotDeployed: nothing is deployed as the model's alias.
    """
    if dry_run:
        raise CommandError(
            _("The rows of a Dataset are not counted before it is consumed."),
            _("Estimate some of them: model.map(dataset.limit(1000).to_pandas(), ..., dry_run=True)"),
        )
    if wanted.budget is not None:
        raise CommandError(
            _("The actors of a Dataset have no budget together."),
            _("Limit the deployment: update --model {alias} --budget_usd N", alias=model.alias),
        )
    manager = model.manager
    manager.reach(model.alias)
    capabilities = manager.run(manager.capabilities(model.alias))
    if (names := dataset.columns(fetch_if_missing=False)) is not None:
        wanted.question(capabilities, [str(name) for name in names])
    slots = wanted.concurrency or in_flight(manager.run(manager.stat(model.alias)))
    most = max(1, min(MOST_ACTORS, slots // SLOTS_PER_ACTOR))
    if wanted.concurrency is not None:  # that of all actors together
        wanted = replace(wanted, concurrency=max(1, wanted.concurrency // most))
    project = Project(folder=str(project_folder()), host=socket.gethostname(), node=_node(), has_purse=_has_purse())
    ray_data = sys.modules["ray.data"]  # the Dataset is from there, and only `runtime` imports Ray
    return dataset.map_batches(
        Mapped,
        fn_constructor_args=(model, wanted, project),
        batch_format="pandas",
        batch_size=BATCH_ROWS,
        compute=ray_data.ActorPoolStrategy(min_size=1, max_size=most),
        num_cpus=ACTOR_CPUS,
    )
