"""`pull` and `models rm`: models of hubs on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from byzer_magic.actions.context import Context
from byzer_magic.client import fetching
from byzer_magic.commands import spec as specs
from byzer_magic.errors import CommandError
from byzer_magic.i18n import gettext as _, lazy_gettext, listed, localized, ngettext
from byzer_magic.local_models.hubs import reference as references, removal
from byzer_magic.local_models.hubs.fetch import Preview
from byzer_magic.local_models.hubs.quantizations import quantization
from byzer_magic.local_models.memory import readable


def pull(context: Context, item: specs.PullSpec) -> None:
    """Fetch a model into its hub's cache, or say what that would take."""
    references.parse(item.name)
    spec = specs.DeploySpec(
        model="pulled", infer_backend=item.infer_backend, gpus_per_worker=item.gpus_per_worker, model_path=item.name
    )
    if item.dry_run:
        preview(context, item.name, spec)
        context.output.say(_("Nothing was downloaded (--dry_run)."))
        return
    context.output.events(item.name, context.manager.iterate(fetching.fetch(item.name, spec)))


def preview(context: Context, model: str, spec: specs.DeploySpec) -> None:
    """Say what fetching a model would take."""
    for line in preview_lines(model, context.manager.run(fetching.preview(model, spec))):
        context.output.say(line)


def preview_lines(model: str, found: Preview) -> list[str]:
    """Return what fetching a model would take, and why these files, as lines."""
    amounts = {"size": readable(found.size), "missing": readable(found.missing), "free": readable(found.free)}
    text = ngettext(
        "{model}: {count} file, {size}; {missing} to download into {folder}, where {free} is free.",
        "{model}: {count} files, {size}; {missing} to download into {folder}, where {free} is free.",
        count=found.files, model=model, folder=found.folder, **amounts,
    )  # fmt: skip
    return [text, *([_("{name}: {text}", name=model, text=localized(found.why))] if found.why else [])]


def remove(context: Context, item: specs.ModelsRmSpec) -> None:
    """Remove a model of a hub from this machine."""
    reference = removal.named(item.name, os.environ)
    users = [] if item.force else _users(reference)
    if users:
        raise CommandError(
            lazy_gettext("{model} is in use: {aliases}.", model=reference, aliases=listed(users)),
            lazy_gettext("Undeploy first, or add --force."),
        )
    freed = removal.remove(reference, os.environ)
    context.output.say(_("{model}: removed, {size} freed.", model=reference, size=readable(freed)))


def _users(reference: references.Reference) -> list[str]:
    """Return the deployments that are kept for this machine's Ray and have a model of the same repository."""
    from byzer_magic.errors import ConfigError
    from byzer_magic.runtime.fleet_file import LOCAL, FleetFile

    try:
        kept = FleetFile(LOCAL).read()
    except ConfigError:  # another user's, or damaged: the fleet says so
        return []
    found = []
    for alias, item in kept.items():
        used = references.from_path(Path(item.path))
        if used is not None and (used.hub, used.repo) == (reference.hub, reference.repo):
            found += [alias] if reference.part in ("", used.part, quantization(used.part)) else []
    return sorted(found)
