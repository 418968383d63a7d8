"""`%%chat`: fill in the prompt, remember sessions, put the result where the user wants it."""

from __future__ import annotations

import functools
import keyword
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from byzer_magic import media
from byzer_magic.actions import kept, replay
from byzer_magic.actions.actions import options_in
from byzer_magic.actions.output import Output
from byzer_magic.capabilities import TABLE, purpose
from byzer_magic.client import answering, answers, journaling
from byzer_magic.client.answers import Background
from byzer_magic.client.converse import Exchange, converse
from byzer_magic.client.ledger import LEDGER
from byzer_magic.client.manager import Manager
from byzer_magic.client.messages import to_messages
from byzer_magic.client.scope import SCOPE
from byzer_magic.client.sessions import Sessions
from byzer_magic.commands.spec import ChatSpec
from byzer_magic.errors import CommandError
from byzer_magic.i18n import gettext, lazy_gettext as _, localized
from byzer_magic.magics import columns, typed
from byzer_magic.magics.background import fill_later
from byzer_magic.magics.filling import fill
from byzer_magic.magics.grid import judging, run as grid_run, values as grid_values
from byzer_magic.magics.kept import Interrupted, Kept
from byzer_magic.rendering import footer
from byzer_magic.results import Result
from byzer_magic.results.comparison import Answers, need_pandas
from byzer_magic.results.grid import Grid
from byzer_magic.types import Media, Message
from byzer_magic.widgets.context import Context, cell_of


class Chats:
    """The conversations of one notebook."""

    def __init__(self, shell: Any, output: Output) -> None:
        self._shell = shell
        self._out = output
        self.kept = Sessions()
        """The sessions, by name."""
        self.results = Kept(shell)
        self._recordings: dict[str, Any] = {}
        """The recorders that are open, by their cells."""

    def chat(self, manager: Manager, item: ChatSpec, prompt: str | None) -> None:
        """Send a prompt and show the response; the result goes to `_chat` and to `--out`.

        Raises:
            CommandError: the prompt is missing, or an expression in it cannot be evaluated.
            RequestError: the response is incomplete; the part received is shown and kept.
        """
        origin = SCOPE.origin  # also of a recording that is answered while another cell runs
        with journaling.using(journaling.How(fresh=item.fresh, sample=item.sample, origin=origin)), LEDGER.holding():
            self._chat(manager, item, prompt)

    def _chat(self, manager: Manager, item: ChatSpec, prompt: str | None) -> None:
        aliases = columns.names(item.model)
        if self._reset(manager, item, aliases) and not (prompt or "").strip():
            self._out.say(gettext("Session {name} was reset.", name=item.session))
            return
        self._check(item, aliases, prompt)
        if grid_values.is_wanted(item):
            self._grid(manager, item, aliases, (prompt or "").strip("\n"))
            return
        text = fill((prompt or "").strip("\n"), self._shell.user_ns)
        self._pull(manager, item, aliases, text)
        if item.audio == grid_values.REC:
            self._record(manager, item, text)
            return
        if len(aliases) > 1:
            self._several(manager, item, aliases, text)
            return
        messages = self._messages(item, text)
        if item.schema:
            self._value(manager, item, messages)
            return
        if item.background:
            self._leave(manager, item, messages)
            return
        result = self._answer(manager, item, messages)
        if result.interrupted:
            raise Interrupted(_("Interrupted: the part that arrived is kept in _chat."))

    def _answer(self, manager: Manager, item: ChatSpec, messages: list[Message]) -> Result:
        """Return the response to a conversation, shown while it arrives, and kept."""
        keep = functools.partial(self._keep, manager, item, messages)
        if item.tools:  # each round has a response, and only the last one is the answer
            keep = functools.partial(self.results.put, name=item.out)

        def ask(exchange: Exchange) -> Any:
            exchange.keep = keep
            return self._out.answer(exchange, item.format)

        with self.results.showing():
            if not item.tools:
                return cast("Result", ask(self._exchange(manager, item, item.model, messages)))
            tools = typed.functions(item.tools, self._shell.user_ns)
            result = typed.answer(manager, self._out, item, messages, tools, ask)
            self._keep(manager, item, messages, result)  # with all calls
            return result

    def _value(self, manager: Manager, item: ChatSpec, messages: list[Message]) -> None:
        """Show the response as a value of a type, and put it where results are."""
        value, result = typed.value(manager, item, messages, self._shell.user_ns)
        self.results.put(value, item.out)
        self._remember(manager, item.model, item.session, messages, result)
        self._out.text(repr(value))
        if known := footer.from_journal(result):  # there is no footer here
            self._out.say(known)

    def _leave(self, manager: Manager, item: ChatSpec, messages: list[Message]) -> None:
        """Send a request that goes on without this notebook; its output fills after the cell has ended."""
        exchange = self._exchange(manager, item, item.model, messages)
        session = "" if item.session is None or item.session in self.kept.private else item.session
        if session in self.kept:  # what its deployment may not have of it
            manager.run(self.kept.push(manager, item.model, session))
        background = Background(manager, exchange, session, len(messages) - 1)

        def keep(result: Result) -> None:
            if not session or result.journal is not None:
                self._keep(manager, item, messages, result)
                return
            self._give(item, Answers([result]) if item.df else result)
            manager.run(self.kept.pull(manager, item.model, session))  # its deployment has added the turn

        fill_later(self._shell, self._out, exchange, background.id, background.run, keep, item.format)

    def attach(self, context: Context, item: ChatSpec) -> None:
        """Show an answer that goes on in its deployment, or has ended there; or end it.

        Raises:
            CommandError: there is no such answer.
            RequestError: what ended it, or why it is no longer kept.
        """
        if replay.skipped(context, "--attach"):
            return
        found = kept.found_by(context, item.model)
        if item.cancel:
            kept.end(context, found)
            return

        def keep(result: Result) -> None:
            self._give(item, Answers([result]) if item.df else result)

        if item.background:
            exchange = context.manager.run(answers.attached(context.manager, found))
            fill_later(self._shell, self._out, exchange, found.answer.id, exchange.run, keep, item.format)
            return
        with self.results.showing():
            result = kept.follow(context, found, keep, item.format)
        if result.interrupted:
            raise Interrupted(_("Interrupted: the part that arrived is kept in _chat."))

    @staticmethod
    def _exchange(manager: Manager, item: ChatSpec, alias: str, messages: list[Message]) -> Exchange:
        options = options_in(item)
        return converse(manager, alias, messages, options=options, stream=not item.no_stream, timeout=item.timeout)

    def _reset(self, manager: Manager, item: ChatSpec, aliases: list[str]) -> bool:
        """Delete the session (for several models, each one's) if --reset is given; return whether it was."""
        if not (item.reset and item.session):
            return False
        for alias in aliases:
            name = str(_session(item, alias, aliases))
            self.kept.pop(name, None)
            if manager.runs(manager.run(manager.named(alias))[0]):
                manager.run(self.kept.remove(manager, alias, name))
        return True

    def _pull(self, manager: Manager, item: ChatSpec, aliases: list[str], text: str) -> None:
        """Take over what other notebooks, windows and shells have added to the session.

        Where this kernel has not begun it, and the journal knows its first turn, the notebook is run again: the session
        begins again, and goes on as it went then.
        """
        for alias in aliases if item.session else ():
            manager.reach(alias)
            name = str(_session(item, alias, aliases))
            if name not in self.kept and item.audio != grid_values.REC and self._is_known(manager, item, alias, text):
                manager.run(self.kept.remove(manager, alias, name))
            else:
                manager.run(self.kept.pull(manager, alias, name))

    def _is_known(self, manager: Manager, item: ChatSpec, alias: str, text: str) -> bool:
        """Return whether the journal knows the answer to a cell that begins its session."""
        if journaling.store_for(manager) is None or item.schema or item.tools:
            return False
        exchange = self._exchange(manager, item, alias, self._messages(replace(item, session=None), text))
        return manager.run(answering.is_known(manager, alias, exchange.request))

    @staticmethod
    def _check(item: ChatSpec, aliases: list[str], prompt: str | None) -> None:
        if not (prompt or "").strip() and not item.audio:
            raise CommandError(_("The prompt is missing."), _("Write it below %%chat ALIAS, or after %chat ALIAS."))
        if item.out and (not item.out.isidentifier() or keyword.iskeyword(item.out)):
            raise CommandError(_("--out {name!r} is not a variable name.", name=item.out))
        if grid_values.is_wanted(item):
            grid_values.check(item)
        elif item.judge and len(aliases) < 2:
            raise CommandError(_("--judge needs two or more models."), _("Example: %%chat a,b --judge c"))
        if item.audio == grid_values.REC and len(aliases) > 1:
            raise CommandError(_("--audio rec works with one model only."), _("For several models, pass a file."))
        if item.cancel:
            raise CommandError(_("--cancel needs --attach."), _("Example: %chat --attach ID --cancel"))
        if item.background and (len(aliases) > 1 or item.schema or item.tools or item.audio == grid_values.REC):
            raise CommandError(
                _("--background works with one model, and without --schema, --tools and --audio rec."),
                _("Ask one model at a time, or leave --background out."),
            )
        typed.check(item, aliases)
        if item.df:
            need_pandas()

    def _several(self, manager: Manager, item: ChatSpec, aliases: list[str], text: str) -> None:
        """Send a prompt to several models at once; the cell fails when none of them answers."""
        messages = {
            alias: self._messages(replace(item, session=_session(item, alias, aliases)), text) for alias in aliases
        }
        asked = columns.exchanges(manager, aliases, lambda alias: self._exchange(manager, item, alias, messages[alias]))
        if item.judge:
            columns.check_judge(manager, item.judge, list(asked.values()))

        def keep(found: Answers) -> None:
            self._give(item, found)
            for alias, result in zip(aliases, found, strict=True):
                self._remember(manager, alias, _session(item, alias, aliases), messages[alias], result)

        with self.results.showing():
            found = columns.ask(manager, self._out, asked, item.format, keep)
        if any(result.interrupted and not result.error for result in found):
            raise Interrupted(_("Interrupted: the parts that arrived are kept in _chat."))
        columns.check_any_answered(found)
        if item.judge:
            columns.judged(manager, self._out, item.judge, text, found)

    def _grid(self, manager: Manager, item: ChatSpec, aliases: list[str], prompt: str) -> None:
        """Ask every combination of a grid; the cell fails when none is answered."""

        def messages(text: str, system: str | None) -> list[Message]:
            return self._messages(replace(item, system=system), text)

        asked = grid_run.prepared(manager, item, aliases, prompt, self._shell.user_ns, messages)
        if item.judge:
            judging.check(manager, item.judge, asked)
        if item.dry_run:
            grid_run.show(manager, self._out, asked)
            return
        with self.results.showing():
            found = grid_run.ask(manager, self._out, asked, functools.partial(self._give, item))
        if item.judge:
            prompts = [cell.prompt for cell in asked.cells]
            try:
                judging.judge(manager, self._out, item.judge, found, prompts, item.comparisons)
            finally:
                self._give(item, found)

    def _record(self, manager: Manager, item: ChatSpec, text: str) -> None:
        """Open a recorder; the response to a recording is shown below it, after the cell has ended."""
        from byzer_magic.magics.recording import Recording  # needs the packages of [notebook]

        if not self._out.shows_media:
            raise CommandError(_("Recording works in a notebook only."), _("Pass a file: --audio talk.m4a"))
        manager.reach(item.model)
        capabilities = manager.run(manager.capabilities(item.model))
        if "audio" not in TABLE[purpose(capabilities)].accepts:
            raise CommandError(
                _("{alias} does not accept audio.", alias=item.model),
                _("Choose a model with the transcribe or chat capability."),
            )
        sent: list[Message] = []

        def ask(recorded: Media) -> Exchange:
            sent[:] = self._messages(replace(item, audio=None), text, [recorded])
            return self._exchange(manager, item, item.model, sent)

        cell = cell_of(self._shell)
        if (earlier := self._recordings.pop(cell, None)) is not None:
            earlier.close()
        keep = functools.partial(self._keep, manager, item, sent)
        self._recordings[cell] = Recording(item.model, ask, keep)
        self._recordings[cell].show()

    def _messages(self, item: ChatSpec, prompt: str, recorded: Sequence[Media] = ()) -> list[Message]:
        earlier = self.kept.get(item.session, []) if item.session else []
        system = [] if earlier and earlier[0].role == "system" and not item.system else to_messages([], item.system)
        if system and earlier and earlier[0].role == "system":
            earlier = earlier[1:]
        found = [*(media.image(self._object(name)) for name in item.image)]
        found += [*recorded, *([media.audio(self._object(item.audio))] if item.audio else [])]
        return [*system, *earlier, *to_messages(prompt, None, found)]

    def _object(self, name: str) -> Any:
        """Return the notebook's variable of that name, or else the name, which is a path or a URL."""
        return self._shell.user_ns.get(name, name) if name.isidentifier() else name

    def _keep(self, manager: Manager, item: ChatSpec, messages: list[Message], result: Result) -> None:
        self._give(item, Answers([result]) if item.df else result)
        self._remember(manager, item.model, item.session, messages, result)

    def _give(self, item: ChatSpec, found: Result | Answers | Grid) -> None:
        """Put the result where the user finds it: `_chat` and --out; with --df, as a DataFrame."""
        self.results.put(found, item.out)
        if item.df and isinstance(found, Answers | Grid):
            self.results.put(found.frame(), item.out)

    def _remember(
        self, manager: Manager, alias: str, session: str | None, messages: list[Message], result: Result
    ) -> None:
        if session and (note := manager.run(self.kept.remember(manager, alias, session, messages, result))):
            self._out.say(localized(note))


def _session(item: ChatSpec, alias: str, aliases: list[str]) -> str | None:
    """Return the name of a conversation; with several models each has its own, `name@alias`."""
    return f"{item.session}@{alias}" if item.session and len(aliases) > 1 else item.session
