"""What a local model would need, before it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from byzer_magic.actions import doctor

if TYPE_CHECKING:
    from byzer_magic.plan import Plan


def size_up(plan: Plan) -> list[tuple[str, str]]:
    """Return what a worker of a local model would need here: the rows of `doctor`, name and text.

    Raises:
        BadParameter: there is no recognized model at the path.
    """
    worker = doctor.Worker(engine=plan.engine, gpus=plan.setup.gpus, params=plan.setup.params)
    report = doctor.report(str(plan.setup.model_path), lambda: None, worker)
    rows: list[tuple[str, str]] = []
    for row in (row for table in doctor.tables(report) for row in table):
        name, text = row.values()
        rows.append((str(name), str(text)))
    return rows
