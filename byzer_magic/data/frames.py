"""A model over the rows of a DataFrame: `Model.map`, `df.byzer.map` and `%byzer map`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from byzer_magic.client.manager import Manager
from byzer_magic.client.model import Model
from byzer_magic.data import table
from byzer_magic.data.estimate import Estimate, estimated
from byzer_magic.data.rows import as_frame, is_dataset
from byzer_magic.data.run import Run, prepared
from byzer_magic.data.wanted import Wanted
from byzer_magic.i18n import lazy_gettext as _, localized
from byzer_magic.rendering import progress


def map_rows(
    manager: Manager,
    alias: str,
    rows: Any,
    *,
    dry_run: bool = False,
    interrupted: Callable[[], object] = lambda: None,
    **arguments: Any,
) -> Any:
    """Ask a model about each row; see `Model.map`.

    Args:
        manager: connects to the deployment.
        alias: the deployment.
        rows: a DataFrame, a Series or a Ray Dataset.
        dry_run: return what it would take instead.
        interrupted: called where Ctrl-C has ended the run early.
        arguments: as in `Wanted`.

    Raises:
        CommandError: what is wanted does not fit the model or the rows.
        NotDeployed: nothing is deployed as this alias.
        ByzerError: it is that of all rows; `partial` is the frame so far.
    """
    wanted = Wanted(**arguments)
    if is_dataset(rows):
        from byzer_magic.data.datasets import map_dataset

        return map_dataset(Model(alias, manager), rows, wanted, dry_run=dry_run)
    frame = as_frame(rows)
    manager.reach(alias)
    if dry_run:
        return estimate(manager, alias, frame, wanted)
    return map_frame(manager, alias, frame, wanted, interrupted)


def estimate(manager: Manager, alias: str, frame: Any, wanted: Wanted) -> Estimate:
    """Return what a run would take."""
    run = manager.run(prepared(manager, alias, frame, wanted, priced=True))
    return estimated(run.rows, run.asker, run.price, run.known, once=run.kept is not None)


def map_frame(
    manager: Manager, alias: str, frame: Any, wanted: Wanted, interrupted: Callable[[], object] = lambda: None
) -> Any:
    """Return a frame with the answers beside its columns; Ctrl-C returns those that there are."""
    run = manager.run(prepared(manager, alias, frame, wanted))
    is_interrupted = False
    try:
        with manager.reporter.watch(run):
            manager.run(run.run())
    except KeyboardInterrupt:
        is_interrupted = True
        interrupted()
    found = finished(run)
    tell = (
        manager.warn if run.flow.out_of_money and not is_interrupted else manager.reporter.say
    )  # a script hears it, too
    tell(summary(run, interrupted=is_interrupted))
    return found


def finished(run: Run) -> Any:
    """Return the frame of a run that has ended.

    Raises:
        ByzerError: it has ended early, for the reason of all rows; `partial` is the frame so far.
    """
    run.flow.close()
    found = run.table.beside(run.frame)
    about = {
        "model": run.model,
        "capability": run.question.capability.value,
        "options": run.question.options,
        "unanswered": run.sums.total - run.sums.done,
    }
    found.attrs[table.ATTRIBUTE] = found.attrs.get(table.ATTRIBUTE, {}) | dict.fromkeys(run.shape.names, about)
    if run.flow.error is not None:
        run.flow.error.partial = found
        raise run.flow.error
    return found


def summary(run: Run, *, interrupted: bool) -> str:
    """Return what has been done, in a line."""
    left = run.sums.total - run.sums.done
    so_far = progress.words(run.progress)
    if interrupted:
        return str(localized(_("Interrupted. {progress}. Run it again to go on.", progress=so_far)))
    if left:
        return str(localized(_("The budget is spent. {progress}. Run it again to go on.", progress=so_far)))
    return str(localized(_("{alias}: {progress}", alias=run.model, progress=so_far)))
