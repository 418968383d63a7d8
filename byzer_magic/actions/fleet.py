"""The commands about what the cluster is to have."""

from __future__ import annotations

import json
from dataclasses import replace

from byzer_magic.actions import actions
from byzer_magic.actions.context import Context
from byzer_magic.backends import route
from byzer_magic.commands import parser, spec as specs
from byzer_magic.commands.options import options_of
from byzer_magic.errors import CommandError
from byzer_magic.i18n import gettext as _, lazy_gettext, localized
from byzer_magic.rendering.deployments import cells
from byzer_magic.runtime.transport.messages import FleetEntry
from byzer_magic.stat import ModelStat


def show(context: Context, item: specs.FleetSpec) -> None:
    """Show what is wanted beside what runs."""
    context.manager.ensure(item.ray_address)
    view = context.manager.run(context.manager.fleet())
    stats = {stat.model: stat for stat in context.manager.run(context.manager.stats())}
    rows = [
        {
            "model": entry.alias,
            "type": entry.kind,
            "workers": entry.workers,
            "state": _state(entry, stats.get(entry.alias)),
        }
        for entry in view.entries
    ]
    if item.json:
        context.output.text(json.dumps(rows, indent=4, ensure_ascii=False))
        return
    headings = {"model": _("Model"), "type": _("Type"), "workers": _("Workers"), "state": _("State")}
    empty = _("No deployments are kept yet. Deploy a model, and it comes back when Ray is started again.")
    context.output.table([{headings[name]: value for name, value in row.items()} for row in rows], empty)
    for entry in view.entries:
        if entry.why and entry.hint:
            context.output.say(_("{name}: {text}", name=entry.alias, text=localized(entry.hint)))
    if view.problem:
        context.output.say(_("The fleet cannot be saved: {problem}", problem=localized(view.problem)))


def _state(entry: FleetEntry, stat: ModelStat | None) -> str:
    if stat is not None:
        return cells.state_of(stat, 0.0).text
    if entry.restoring:
        return _("restoring")
    return _("waiting: {why}", why=localized(entry.why)) if entry.why else _("not running")


def sleep(context: Context, item: specs.SleepSpec) -> None:
    """Unload a model until the next request."""
    context.manager.reach(item.model, item.ray_address)
    if context.manager.run(context.manager.sleep(item.model)):
        context.output.say(_("{alias} is asleep: the next request loads its model again.", alias=item.model))
    else:
        context.output.say(
            _("{alias} is already asleep, or has requests to finish; nothing was changed.", alias=item.model)
        )


def update(context: Context, item: specs.UpdateSpec) -> None:
    """Change a deployment without a break."""
    manager = context.manager
    manager.ensure(item.ray_address)
    before = manager.run(manager.spec(item.model))
    plan = actions.checked_plan(context, changed(before, item))
    if item.dry_run:
        context.output.text(parser.line(plan.spec, masked=True))
        context.output.say(_("{alias}: all checks passed; nothing was changed (--dry_run).", alias=item.model))
        return
    context.output.events(item.model, manager.iterate(manager.update(plan)))


def changed(before: specs.DeploySpec, item: specs.UpdateSpec) -> specs.DeploySpec:
    """Return a deployment's spec with the options that an update gives.

    Parameters are changed one by one; those of another type of backend mean nothing to a new one.
    """
    given = {opt.name: getattr(item, opt.name) for opt in options_of(type(item)) if opt.name not in KEPT}
    given = {name: value for name, value in given.items() if value is not None}  # `check` is of this command alone
    other = item.pretrained_model_type not in (None, before.pretrained_model_type)
    params = dict(item.infer_params) if other else {**before.infer_params, **item.infer_params}
    after = replace(before, **{**given, "infer_params": params, "replace": False, "dry_run": False})
    limits = after.scaling
    if limits.auto and item.num_workers is None and limits.low <= limits.high:  # the number to begin with follows
        return replace(after, num_workers=limits.within(after.num_workers))
    return after


KEPT = ("model", "infer_params", "ray_address", "file", "dry_run")
"""Options of an update that are not among those that change."""


def alias(context: Context, item: specs.AliasSpec) -> None:
    """Deploy a route, a name that stands for several deployments; without one, list those there are."""
    if item.definition is None:
        _routes(context, item)
        return
    name, equals, to = item.definition.partition("=")
    if not equals or not name.strip() or not to.strip():
        raise CommandError(
            lazy_gettext("{definition} does not have the form NAME=DEPLOYMENTS.", definition=repr(item.definition)),
            lazy_gettext("Write, for example: alias best=gpt4o,claude"),
        )
    params = {route.TO: to.strip()} | ({} if item.patience is None else {route.PATIENCE: str(item.patience)})
    spec = specs.DeploySpec(
        model=name.strip(), pretrained_model_type=route.KIND, worker_concurrency=item.worker_concurrency,
        infer_params=params, replace=item.replace, ray_address=item.ray_address,
    )  # fmt: skip
    actions.deploy(context, spec)


def _routes(context: Context, item: specs.AliasSpec) -> None:
    """List the routes, and where each has sent its requests."""
    context.manager.ensure(item.ray_address)
    routes = [stat for stat in context.manager.run(context.manager.stats()) if stat.arms]
    rows = [{_("Model"): stat.model, **row} for stat in routes for row in cells.arm_rows(stat)]
    context.output.table(rows, _("There are no routes. Define one: alias best=a,b"))
