"""What deployments keep: answers that go on in the background, and sessions that all faces share."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from byzer_magic.actions.asking import not_lost, remember, saved
from byzer_magic.actions.context import Context
from byzer_magic.capabilities import TABLE, Capability
from byzer_magic.client import answers as kept_answers, sessions as shared_sessions
from byzer_magic.client.answers import Background, Found
from byzer_magic.client.converse import Exchange
from byzer_magic.commands import durations, spec as specs
from byzer_magic.errors import CannotConnect, CommandError
from byzer_magic.i18n import gettext, lazy_gettext as _, listed, localized
from byzer_magic.request_ids import short
from byzer_magic.results import Result, saving, turns as session_turns
from byzer_magic.types import ChatRequest

Keep = Callable[[Result], object]


def answers(context: Context, item: specs.AnswersSpec) -> None:
    """List the answers that deployments keep."""
    kept_answers.look(context.manager, item.ray_address)
    try:
        found = context.manager.run(kept_answers.everywhere(context.manager, item.model or ""))
    except CannotConnect:  # so there are none
        found = []
    empty = gettext("No deployment keeps an answer. Ask for one with %%chat ALIAS --background.")
    context.output.table([_row(known) for known in found], empty)


def _row(found: Found) -> dict[str, Any]:
    answer = found.answer
    state = localized(STATES[answer.state])
    if answer.error and answer.state in ("failed", "dropped"):
        state = gettext("{text} ({notes})", text=state, notes=localized(answer.error))
    return {
        gettext("Answer"): short(answer.id),
        gettext("Deployment"): found.alias,
        gettext("State"): state,
        gettext("Age"): durations.written(float(round(answer.age))),
        gettext("Prompt"): answer.words,
    }


STATES = {
    "running": _("running"),
    "done": _("complete"),
    "failed": _("failed"),
    "cancelled": _("cancelled"),
    "dropped": _("no longer kept"),
}


def attach(context: Context, item: specs.AttachSpec) -> Result | None:
    """Show an answer that a deployment keeps, and what comes of it; or end it."""
    if item.output_file:
        saving.check(item.output_file)
    found = found_by(context, item.name or "", item.ray_address)
    if item.cancel:
        end(context, found)
        return None
    makes_file = TABLE[Capability(found.answer.capability)].returns == "file"
    if makes_file and not (item.output_file or context.output.shows_media):
        raise CommandError(
            _("{alias} returns a file.", alias=found.alias), _("Add --output_file NAME, e.g. x.mp3 or x.png.")
        )
    result = follow(context, found, context.keep, "hidden" if item.output_file else "markdown")
    if item.output_file and not result.interrupted:
        context.output.say(saved(context, result, item.output_file))
    return result


def found_by(context: Context, name: str, address: str = "auto") -> Found:
    """Return the answer that a name stands for (see `client.answers.find`)."""
    kept_answers.look(context.manager, address)
    return context.manager.run(kept_answers.find(context.manager, name))


def end(context: Context, found: Found) -> None:
    """End an answer."""
    names = {"id": short(found.answer.id), "alias": found.alias}
    if context.manager.run(kept_answers.cancel(context.manager, found)):
        context.output.say(gettext("The answer {id} of {alias} was cancelled; what had arrived is kept.", **names))
    else:
        context.output.say(gettext("The answer {id} of {alias} had ended already.", **names))


def follow(context: Context, found: Found, keep: Keep, style: str = "markdown") -> Result:
    """Show an answer while it arrives, and return it; Ctrl-C leaves it going.

    Args:
        context: of the command.
        found: the answer.
        keep: is called with the result before it is shown.
        style: as in `Output.answer`.

    Raises:
        RequestError: what ended the answer.
    """
    exchange = context.manager.run(kept_answers.attached(context.manager, found))
    results: list[Result] = []

    def keep_all(result: Result) -> None:
        keep(result)
        results.append(result)

    exchange.keep = keep_all
    with not_lost(context, results):
        result = context.output.answer(exchange, style)
    if result.interrupted:
        context.output.say(
            gettext(
                "The answer goes on in {alias}; to continue: attach {id}; to end it: attach {id} --cancel",
                alias=found.alias,
                id=short(found.answer.id),
            )
        )
    return result


def leave(context: Context, exchange: Exchange, session: str, turn: int) -> None:
    """Send a request that goes on without this process, and show its id.

    Args:
        context: of the command.
        exchange: the request.
        session: the conversation that the turn is added to at its end; empty for none.
        turn: where in the messages of the request the turn begins.
    """
    if session in context.sessions:  # what its deployment may not have of it
        context.manager.run(context.sessions.push(context.manager, exchange.alias, session))
    background = Background(context.manager, exchange, session, turn)
    if (known := context.manager.run(background.begin())) is not None:  # by the journal
        context.keep(known)
        context.output.text(str(known))
        if session and isinstance(exchange.request, ChatRequest):
            remember(context, exchange.alias, session, exchange.request.messages, known)
        return
    context.output.text(short(background.id))
    context.output.say(
        gettext("The answer goes on in {alias}; to see it: attach {id}", alias=exchange.alias, id=short(background.id))
    )


def sessions(context: Context, item: specs.SessionsSpec) -> None:
    """List the sessions of this face and of the deployments, or remove one or all.

    Raises:
        CommandError: there is no session of that name.
    """
    kept_answers.look(context.manager, item.ray_address)
    if item.reset is not None:
        _remove(context, item.reset, item.model)
    rows = [
        {
            gettext("Session"): name,
            gettext("Turns"): count,
            gettext("Deployment"): alias or gettext("only here"),
            gettext("Last message"): last,
        }
        for (name, alias), (count, last) in sorted(_known(context, item.model).items())
    ]
    context.output.table(rows, gettext("There are no sessions. Start one with %%chat ALIAS --session NAME."))


def _remove(context: Context, name: str, alias: str | None) -> None:
    known = _known(context, alias)
    chosen = [key for key in known if name in ("all", key[0])]
    if not chosen and name != "all":
        names = listed(dict.fromkeys(found for found, _alias in known))
        hint = _("Sessions: {names}.", names=names) if names else _("There are no sessions.")
        raise CommandError(_("There is no session {name!r}.", name=name), hint)
    for found, where in chosen:
        if where:
            context.manager.run(context.sessions.remove(context.manager, where, found))
        else:
            context.sessions.pop(found, None)


def _known(context: Context, alias: str | None) -> dict[tuple[str, str], tuple[int, str]]:
    """Return turns and last message of each session by its name and its deployment, which is empty for one's own."""
    found = {
        (info.name, where): (info.turns, info.last)
        for where, infos in context.manager.run(_in_deployments(context, alias))
        for info in infos
    }
    elsewhere = {name for name, _where in found}
    if alias is None:
        found |= {
            (name, ""): (sum(turn.role == "user" for turn in turns), session_turns.last_words(turns))
            for name, turns in context.sessions.items()
            if name not in elsewhere
        }
    return found


async def _in_deployments(context: Context, alias: str | None) -> list[tuple[str, list[Any]]]:
    manager = context.manager
    try:
        aliases = [alias] if alias else await manager.names()
    except CannotConnect:
        return []
    asked = await asyncio.gather(
        *map(functools.partial(shared_sessions.listed_in, manager), aliases), return_exceptions=True
    )
    return [(name, infos) for name, infos in zip(aliases, asked, strict=True) if isinstance(infos, list)]
