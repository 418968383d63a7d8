"""A model over the rows of a Ray Dataset, by the Dataset's own methods: Ray Data distributes, the pool limits.

Each of its actors connects to the deployment by itself, and asks about one batch after the other as about a frame.
Their answers go into the journal of the project; on another machine than the user's into one there: the file of a
journal cannot be shared between machines.
"""

from __future__ import annotations

import hashlib
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from byzer_magic.client import spending
from byzer_magic.client.estimates import in_flight
from byzer_magic.client.model import Model
from byzer_magic.data.frames import finished
from byzer_magic.data.run import prepared
from byzer_magic.data.wanted import Wanted
from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.journal.store import FOLDER, project_folder

BATCH_ROWS = 1024
"""Rows that an actor asks about together."""
SLOTS_PER_ACTOR = 32
MOST_ACTORS = 16
ACTOR_CPUS = 0.25
"""An actor mostly waits."""


class Mapped:
    """What an actor of Ray Data does with a batch.

    Args:
        model: the model; connecting is done here.
        wanted: what the user wants.
        host: the machine of the user.
        folder: the project folder there.
    """

    def __init__(self, model: Model, wanted: Wanted, host: str, folder: str) -> None:
        self._model = model
        project = journal_folder(host, folder)
        self._wanted = replace(wanted, folder=str(project))
        spending.WALLET.project = project  # an actor works in a folder of Ray's
        self._model.manager.reach(model.alias)

    def __call__(self, batch: Any) -> Any:
        """Return a batch with its answers."""
        manager = self._model.manager
        run = manager.run(prepared(manager, self._model.alias, batch, self._wanted))
        manager.run(run.run())
        found = finished(run)
        for name in run.shape.names:  # batches may have had different categories, to Arrow
            if str(found[name].dtype) == "category":
                found[name] = found[name].astype("str")
        found.attrs = {}
        return found


def journal_folder(host: str, folder: str) -> Path:
    """Return the folder of the journal on this machine, for a project of a user on some machine.

    Args:
        host: the user's machine.
        folder: the project folder there.
    """
    here = socket.gethostname()
    if here == host and Path(folder).is_dir():
        return Path(folder)
    name = hashlib.sha256(f"{host}:{folder}".encode()).hexdigest()[:16]
    found = Path.home() / FOLDER / "projects" / name
    found.mkdir(parents=True, exist_ok=True)
    return found


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
    ray_data = sys.modules["ray.data"]  # the Dataset is from there, and only `runtime` imports Ray
    return dataset.map_batches(
        Mapped,
        fn_constructor_args=(model, wanted, socket.gethostname(), str(project_folder())),
        batch_format="pandas",
        batch_size=BATCH_ROWS,
        compute=ray_data.ActorPoolStrategy(min_size=1, max_size=most),
        num_cpus=ACTOR_CPUS,
    )
