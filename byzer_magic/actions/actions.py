"""What each command does, for all faces: a `Context` and a spec in, calls to the manager, results to an `Output`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from byzer_magic import media
from byzer_magic.actions import hubs, kept, replay
from byzer_magic.actions.asking import answered, saved
from byzer_magic.actions.context import Context
from byzer_magic.capabilities import TABLE, method_for
from byzer_magic.catalog import model_facts, presets
from byzer_magic.client import fetching, journaling
from byzer_magic.client.converse import converse
from byzer_magic.client.messages import to_messages
from byzer_magic.client.replaying import REPLAY
from byzer_magic.commands import parser, spec as specs
from byzer_magic.commands.options import Spec
from byzer_magic.errors import CommandError, MissingKey, NotFetched
from byzer_magic.i18n import gettext, join, lazy_gettext as _, lazy_ngettext, localized, ngettext
from byzer_magic.rendering import footer
from byzer_magic.results import Result, saving

if TYPE_CHECKING:
    from byzer_magic.plan import Plan


def options_in(item: specs.QuerySpec | specs.ChatSpec | specs.MapSpec) -> dict[str, Any]:
    """Return the request fields of a command; JSON values in `--params` (numbers, true, lists) are parsed."""
    flags = {name: getattr(item, name) for name in ("temperature", "max_tokens")}
    return {name: _value(text) for name, text in item.params.items()} | {
        name: value for name, value in flags.items() if value is not None
    }


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def run_all(context: Context, commands: Iterable[Spec]) -> Any:
    """Run commands in order, after all of them have been checked; return the last one's value.

    Raises:
        ByzerError: a command failed.
    """
    ready = list(commands)
    for item in ready:
        if isinstance(item, specs.DeploySpec | specs.EasyDeploySpec) and not REPLAY.connection(
            context.manager.settings
        ):
            with contextlib.suppress(*((NotFetched,) if item.dry_run else ())):
                checked_plan(context, _plain(item))
    value = None
    for item in ready:
        value = replay.run(context, item)
    return value


def _plain(item: specs.DeploySpec | specs.EasyDeploySpec) -> specs.DeploySpec:
    return presets.spec(item) if isinstance(item, specs.EasyDeploySpec) else item


def checked_plan(context: Context, item: specs.DeploySpec) -> Plan:
    """Check a deployment; ask for a missing API key where the user can enter it, and fetch a model that is in a hub."""
    while True:
        typed = {param: value for (alias, param), value in context.typed.items() if alias == item.model}
        try:
            return fetching.planned(
                context.manager,
                item,
                context.variables(),
                typed,
                lambda events: context.output.events(item.model, events),
            )
        except MissingKey as err:
            param = err.details.get("param")
            question = gettext(
                "{error} Enter it for {alias} (hidden): ", error=localized(err.message), alias=item.model
            )
            value = context.output.ask_secret(question) if param else None
            if not param or not value or (item.model, param) in context.typed:
                raise
            context.typed[item.model, param] = value


def deploy(context: Context, item: specs.DeploySpec) -> None:
    """Deploy a model, or only check it."""
    try:
        plan = checked_plan(context, item)
    except NotFetched as err:
        hubs.preview(context, err.details["model"], item)
        context.output.say(
            gettext(
                "{alias}: nothing was downloaded or deployed (--dry_run); the other checks need the model's files.",
                alias=item.model,
            )
        )
        return
    if plan.why:
        context.output.say(
            gettext("{alias}: {engine}, because {reason}.", alias=item.model, engine=plan.engine, reason=plan.why)
        )
    for note in plan.notes:
        context.output.say(localized(note))
    if item.dry_run:
        context.output.text(parser.line(plan.spec, masked=True))
        context.output.say(gettext("{alias}: all checks passed; nothing was deployed (--dry_run).", alias=item.model))
        return
    if note := model_facts.facts(str(plan.setup.params.get("saas.model", ""))).note:
        context.output.say(gettext("Note: {note}", note=note))
    context.manager.ensure(item.ray_address)
    context.output.events(item.model, context.manager.iterate(context.manager.deploy(plan)))


def easy_deploy(context: Context, item: specs.EasyDeploySpec) -> None:
    """Deploy a preset."""
    deploy(context, presets.spec(item))


def undeploy(context: Context, item: specs.UndeploySpec) -> None:
    """Remove a deployment."""
    context.manager.ensure(item.ray_address)
    cancelled = context.manager.run(context.manager.undeploy(item))
    done = gettext("{alias}: undeployed.", alias=item.model)
    if cancelled:
        done = ngettext(
            "{alias}: undeployed; {count} request was cancelled.",
            "{alias}: undeployed; {count} requests were cancelled.",
            count=cancelled,
            alias=item.model,
        )
    context.output.say(done)


def scale(context: Context, item: specs.ScaleSpec) -> None:
    """Change the number of workers."""
    context.manager.reach(item.model, item.ray_address)
    context.output.events(item.model, context.manager.iterate(context.manager.scale(item)))


def restart(context: Context, item: specs.RestartSpec) -> None:
    """Restart workers."""
    context.manager.reach(item.model, item.ray_address)
    context.output.events(item.model, context.manager.iterate(context.manager.restart(item)))


def drain(context: Context, item: specs.DrainSpec) -> None:
    """Send no new requests to workers."""
    context.manager.reach(item.model, item.ray_address)
    running = context.manager.run(context.manager.drain(item))
    alias = item.model
    if item.worker is None:
        done = _("{alias} is drained: it gets no new requests.", alias=alias)
    else:
        done = _("{alias} worker {worker} is drained: it gets no new requests.", alias=alias, worker=item.worker)
    finishing = lazy_ngettext(
        "{count} request in flight will finish.", "{count} requests in flight will finish.", count=running
    )
    undo = _("To undo: restart --model {alias}", alias=alias)
    context.output.say(localized(join(done, finishing if running else "", undo)))


def easy_undeploy(context: Context, item: specs.EasyUndeploySpec) -> None:
    """Remove a deployment."""
    undeploy(context, specs.UndeploySpec(model=item.model, force=item.force, ray_address=item.ray_address))


def query(context: Context, item: specs.QuerySpec) -> Result:
    """Send one prompt; return the result."""
    if item.query is None and item.audio is None:
        raise CommandError(_("query needs --query, the prompt."), _("Example: {example}", example=item.examples[0]))
    if item.output_file:
        saving.check(item.output_file)
    exchange = converse(
        context.manager,
        item.model,
        item.query or "",
        address=item.ray_address,
        system=item.system,
        attached=[*map(media.image, item.image), *([media.audio(item.audio)] if item.audio else [])],
        options=options_in(item),
        stream=False,
        timeout=item.timeout,
    )
    makes_file = TABLE[method_for(exchange.request)].returns == "file"
    if makes_file and not (item.output_file or context.output.shows_media):
        raise CommandError(
            _("{alias} returns a file.", alias=item.model), _("Add --output_file NAME, e.g. x.mp3 or x.png.")
        )
    with journaling.using(journaling.How(fresh=item.fresh)):
        result = answered(context, exchange, "hidden" if item.output_file else "complete")
    if item.output_file and not result.interrupted:
        context.output.say(saved(context, result, item.output_file))
    for text in filter(None, (footer.warning(result), footer.from_journal(result))):  # there is no footer here
        context.output.say(text)
    return result


def easy_chat(context: Context, item: specs.EasyChatSpec) -> Result | None:
    """Send one prompt and show the response as it arrives; return the result."""
    manager, name = context.manager, item.session
    if name:
        manager.reach(item.model, item.ray_address)
        changed = context.sessions.remove if item.reset else context.sessions.pull
        manager.run(changed(manager, item.model, name))
    messages = [*(context.sessions.get(name, []) if name else []), *to_messages(item.query)]
    exchange = converse(manager, item.model, messages, address=item.ray_address)
    if item.background:
        kept.leave(context, exchange, name or "", len(messages) - 1)
        return None
    return answered(context, exchange, "markdown", name)


def connect(context: Context, item: specs.ConnectSpec) -> None:
    """Connect to a Ray cluster."""
    address = context.manager.connect(item.ray_address)
    context.output.say(gettext("Connected to Ray at {address}.", address=address))


def shutdown(context: Context, _item: specs.ShutdownSpec) -> None:
    """Stop the local Ray."""
    if context.manager.shutdown():
        context.output.say(gettext("The local Ray has stopped."))
    else:
        context.output.say(gettext("No local Ray started by byzer-magic is running; nothing was stopped."))
