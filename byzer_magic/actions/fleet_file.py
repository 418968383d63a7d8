"""`export` and `apply`: all deployments of a cluster as a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from byzer_magic.actions import actions
from byzer_magic.actions.context import Context
from byzer_magic.commands import fleet_yaml, spec as specs
from byzer_magic.commands.options import options_of, visible_setting
from byzer_magic.commands.parser import read_text
from byzer_magic.errors import ByzerError, CommandError
from byzer_magic.files import paths, writing
from byzer_magic.i18n import Text, gettext as _, lazy_gettext, listed, localized, ngettext
from byzer_magic.plan import Plan
from byzer_magic.runtime.transport.messages import FleetEntry

PER_COMMAND = ("file", "replace", "check", "dry_run", "ray_address")
"""Options of `deploy` that say how it is done, not what is to be."""


def export(context: Context, item: specs.ExportSpec) -> None:
    """Write the deployments into a file."""
    path = paths.expanded(item.path)
    if paths.exists(path) and not item.force:
        raise CommandError(
            lazy_gettext("{path} already exists.", path=item.path),
            lazy_gettext("Add --force to overwrite it, or choose another name."),
        )
    context.manager.ensure(item.ray_address)
    entries = context.manager.run(context.manager.fleet()).entries
    text = fleet_yaml.write(_without_secrets(entry) for entry in entries)
    writing.write(path, text.encode())
    context.output.say(
        ngettext(
            "{path}: {count} deployment written, without secrets.",
            "{path}: {count} deployments written, without secrets.",
            count=len(entries), path=item.path,
        )
    )  # fmt: skip
    for entry in entries:
        if entry.left_out:
            names = listed(f"{name} = {_variable(entry.alias, name)}" for name in entry.left_out)
            context.output.say(
                _("{alias}: set these variables before `apply`: {names}", alias=entry.alias, names=names)
            )


def _without_secrets(entry: FleetEntry) -> specs.DeploySpec:
    """Return a deployment with a variable in the place of each secret that was typed."""
    spec = entry.spec or specs.DeploySpec(model=entry.alias)
    variables = {name: _variable(entry.alias, name) for name in entry.left_out}
    return replace(spec, infer_params={**spec.infer_params, **variables}, ray_address="auto", file=None)


def _variable(alias: str, param: str) -> str:
    name = re.sub(r"\W", "_", f"{alias}_{param.rpartition('.')[2]}", flags=re.ASCII).upper()
    return f"${{{name}}}"


@dataclass(frozen=True, slots=True)
class Change:
    """What `apply` does about one deployment."""

    alias: str
    kind: str
    """`deploy`, `update`, `undeploy` or `same`."""
    details: tuple[str, ...] = ()
    """The options that change, with both values."""
    plan: Plan | None = None


def apply(context: Context, item: specs.ApplySpec) -> None:
    """Bring the cluster to what a file has: everything is checked before anything is done."""
    wanted = fleet_yaml.read(read_text(item.path), item.path)
    plans = [_checked(context, spec, item.path) for spec in wanted]
    context.manager.ensure(item.ray_address)
    entries = {entry.alias: entry for entry in context.manager.run(context.manager.fleet()).entries}
    running = set(context.manager.run(context.manager.names()))
    changes = [_change(plan, entries.get(plan.spec.model), running) for plan in plans]
    if item.prune:
        named = {plan.spec.model for plan in plans}
        changes += [Change(alias, "undeploy") for alias in sorted({*entries, *running} - named)]
    context.output.table([_row(change) for change in changes], _("The file has no deployments."))
    if item.dry_run:
        context.output.say(_("Nothing was changed (--dry_run)."))
        return
    for change in changes:
        _do(context, change)


def _checked(context: Context, spec: specs.DeploySpec, path: str) -> Plan:
    try:
        return actions.checked_plan(context, spec)
    except ByzerError as err:
        err.message = lazy_gettext("{alias} in {path}: {problem}", alias=spec.model, path=path, problem=err.message)
        raise


def _change(plan: Plan, entry: FleetEntry | None, running: set[str]) -> Change:
    alias = plan.spec.model
    if entry is None or entry.spec is None or alias not in running:
        return Change(alias, "update" if alias in running else "deploy", plan=plan)
    details = tuple(differences(entry.spec, plan, entry.left_out))
    return Change(alias, "update" if details else "same", details, plan)


def differences(before: specs.DeploySpec, plan: Plan, left_out: Sequence[str] = ()) -> Iterator[str]:
    """Yield the options in which a plan differs from what is deployed, as `name: before -> after`.

    Args:
        before: what is deployed.
        plan: what is to be.
        left_out: parameters whose values are not known; they do not differ.
    """
    now = replace(plan.spec, model_path=plan.model_path)
    for opt in options_of(specs.DeploySpec):
        old, new = getattr(before, opt.name), getattr(now, opt.name)
        if opt.name in (*PER_COMMAND, "infer_params") or old == new:
            continue
        yield f"{opt.name}: {_shown(old)} -> {_shown(new)}"
    for name in sorted({*before.infer_params, *now.infer_params} - {*left_out}):
        old, new = before.infer_params.get(name), now.infer_params.get(name)
        if old != new:
            yield f"{name}: {_shown(old, name)} -> {_shown(new, name)}"


def _shown(value: object, name: str = "") -> str:
    if value is None:
        return "-"
    return visible_setting(name, str(value)) if name else str(value)


def _row(change: Change) -> dict[str, str]:
    words: dict[str, Text | str] = {
        "deploy": lazy_gettext("new"), "update": lazy_gettext("update"),
        "undeploy": lazy_gettext("undeploy"), "same": lazy_gettext("unchanged"),
    }  # fmt: skip
    return {
        _("Model"): change.alias,
        _("Change"): str(localized(words[change.kind])),
        _("Options"): "; ".join(change.details),
    }


def _do(context: Context, change: Change) -> None:
    manager = context.manager
    if change.kind == "undeploy":
        actions.undeploy(context, specs.UndeploySpec(model=change.alias))
    elif change.kind != "same" and change.plan is not None:
        work = manager.update(change.plan) if change.kind == "update" else manager.deploy(change.plan)
        context.output.events(change.alias, manager.iterate(work))
