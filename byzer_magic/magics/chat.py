"""`%%chat`: fill in the prompt, remember sessions, put the result where the user wants it."""

from __future__ import annotations

import keyword
import re
from typing import Any

from byzer_magic import habits, media
from byzer_magic.actions import options_in
from byzer_magic.answer import to_messages
from byzer_magic.errors import CommandError, RequestError
from byzer_magic.gather import gatherer
from byzer_magic.manager import Manager
from byzer_magic.output import Output
from byzer_magic.results import ChatResult, Result
from byzer_magic.spec import ChatSpec, SessionsSpec
from byzer_magic.types import Message

EXPRESSION = re.compile(r"(?P<literal>\\)?\{\{(?P<code>.+?)\}\}", re.DOTALL)
"""`{{expression}}`; with a backslash in front it stays as typed."""


class Interrupted(CommandError):
    """The user stopped the answer; what had arrived is kept."""


class Chats:
    """The conversations of one notebook."""

    def __init__(self, shell: Any, output: Output) -> None:
        self._shell = shell
        self._out = output
        self.kept: dict[str, list[Message]] = {}
        """The sessions, by name."""

    def chat(self, manager: Manager, item: ChatSpec, prompt: str | None) -> None:
        """Send a prompt and show its answer; the result goes to `_chat` and to `--out`.

        Raises:
            CommandError: there is no prompt, or an expression in it cannot be evaluated.
            RequestError: no whole answer came; the part that arrived is shown and kept.
        """
        if item.reset and item.session:
            self.kept.pop(item.session, None)
            if not (prompt or "").strip():
                self._out.say(f"Session {item.session} starts anew.")
                return
        if not (prompt or "").strip() and not item.audio:
            raise CommandError("There is no prompt.", "Write it below %%chat alias, or behind %chat alias.")
        if item.out and (not item.out.isidentifier() or keyword.iskeyword(item.out)):
            raise CommandError(f"--out {item.out!r} is not a variable name.")
        messages = self._messages(item, fill((prompt or "").strip("\n"), self._shell.user_ns))
        manager.reach(item.model)
        abilities = manager.run(manager.abilities(item.model))
        request = habits.request_for(
            abilities, messages, options_in(item), stream=not item.no_stream, timeout=item.timeout
        )
        try:
            items = manager.iterate(manager.ask(item.model, request))
            result = self._out.answer(gatherer(item.model, request), items, item.format)
        except RequestError as err:
            if err.partial is not None:
                self._keep(item, messages, err.partial)
            raise
        self._keep(item, messages, result)
        if result.interrupted:
            raise Interrupted("Interrupted: the part that arrived is kept in _chat.")

    def _messages(self, item: ChatSpec, prompt: str) -> list[Message]:
        earlier = self.kept.get(item.session, []) if item.session else []
        system = [] if earlier and earlier[0].role == "system" and not item.system else to_messages([], item.system)
        if system and earlier and earlier[0].role == "system":
            earlier = earlier[1:]
        found = [*(media.image(self._object(name)) for name in item.image)]
        found += [media.audio(self._object(item.audio))] if item.audio else []
        return [*system, *earlier, *to_messages(prompt, None, found)]

    def _object(self, name: str) -> Any:
        """Return the notebook's variable of that name, or else the name, which is a path or an address."""
        return self._shell.user_ns.get(name, name) if name.isidentifier() else name

    def _keep(self, item: ChatSpec, messages: list[Message], result: Result) -> None:
        self._shell.user_ns["_chat"] = result
        if item.out:
            self._shell.user_ns[item.out] = result
        if item.session and isinstance(result, ChatResult) and result.text:
            self.kept[item.session] = [*messages, Message("assistant", result.text)]

    def sessions(self, item: SessionsSpec) -> None:
        """List the sessions, or forget one or all.

        Raises:
            CommandError: there is no session of that name.
        """
        if item.reset == "all":
            self.kept.clear()
        elif item.reset is not None and self.kept.pop(item.reset, None) is None:
            raise CommandError(f"There is no session {item.reset!r}.", f"Sessions: {', '.join(self.kept) or 'none'}.")
        rows = [
            {"session": name, "turns": sum(turn.role == "user" for turn in turns), "last": str(turns[-1].content)[:60]}
            for name, turns in self.kept.items()
        ]
        self._out.table(rows, "There are no sessions. Start one with %%chat alias --session NAME.")


def fill(prompt: str, variables: dict[str, Any]) -> str:
    """Replace each `{{expression}}` in a prompt by its value in the notebook; single braces are literal.

    Raises:
        CommandError: an expression cannot be evaluated; the text names it.
    """

    def value(match: re.Match[str]) -> str:
        if match["literal"]:
            return match[0][1:]
        code = match["code"].strip()
        try:
            return str(eval(code, variables))  # noqa: S307 - the user's own expression, in the user's own kernel
        except NameError as err:
            raise CommandError(
                f"{{{{{code}}}}}: {err.name} is not defined in this notebook.",
                r"Define it first, or write \{{ for braces.",
            ) from err
        except Exception as err:
            raise CommandError(
                f"{{{{{code}}}}}: {type(err).__name__}: {err}.", r"Write \{{ for literal braces."
            ) from err

    return EXPRESSION.sub(value, prompt)
