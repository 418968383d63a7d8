"""`%%chat a,b,c`: several models answer at once, side by side; `--judge d` compares."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import secrets
import string
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import closing
from typing import TypeVar

import msgspec

from byzer_magic.actions.output import Output
from byzer_magic.capabilities import TABLE, Capability, method_for
from byzer_magic.client.collect import ChatCollector
from byzer_magic.client.converse import Exchange, converse
from byzer_magic.client.manager import Manager
from byzer_magic.commands.aliases import SEPARATOR
from byzer_magic.errors import ByzerError, CommandError, JournalError, NotDeployed, RequestError
from byzer_magic.i18n import gettext, lazy_gettext as _, listed
from byzer_magic.magics import judge_prompts
from byzer_magic.magics.repaint import Repainted
from byzer_magic.rendering import progress
from byzer_magic.rendering.answer import columns
from byzer_magic.rendering.answer.view import View
from byzer_magic.results import ChatResult, Result, TranscribeResult
from byzer_magic.results.comparison import Answers
from byzer_magic.types import Message, Waiting

T = TypeVar("T")


def names(model: str) -> list[str]:
    """Return the aliases of `a,b,c`.

    Raises:
        CommandError: one is missing, or is named twice.

    Example:
        >>> names("a, b")
        ['a', 'b']
    """
    found = [name.strip() for name in SEPARATOR.split(model)]
    if not all(found):
        raise CommandError(
            _("An alias is missing in {aliases!r}.", aliases=model), _("Write aliases without spaces: %%chat a,b,c")
        )
    if twice := [name for index, name in enumerate(found) if name in found[:index]]:
        raise CommandError(
            _("{alias} is named twice in {aliases!r}.", alias=twice[0], aliases=model), _("Name each model once.")
        )
    return found


def exchanges(manager: Manager, aliases: Sequence[str], open_one: Callable[[str], T]) -> dict[str, T | ByzerError]:
    """Return the exchange with each model, or several; for one that is deployed but does not respond, the error.

    Raises:
        NotDeployed: one of them is not deployed.
        CommandError: the prompt lacks what one of them needs.
    """
    found: dict[str, T | ByzerError] = {}
    for alias in aliases:
        try:
            found[alias] = open_one(alias)
        except NotDeployed as err:
            if not manager.runs(alias):
                raise
            found[alias] = err
        except RequestError as err:
            found[alias] = err
    return found


class Asking:
    """One model while it answers."""

    def __init__(self, alias: str, exchange: Exchange | ByzerError) -> None:
        self.alias = alias
        self.result: Result | None = None
        self._exchange = None if isinstance(exchange, ByzerError) else exchange
        self._begun = False
        if isinstance(exchange, ByzerError):
            self.result = ChatResult(model=alias, text="", interrupted=True, error=exchange)

    async def run(self, board: Repainted | None) -> Asking:
        """Drain the response; an error ends this model's only."""

        def show(item: object) -> None:
            self._begun = not isinstance(item, Waiting)
            if board is not None:
                board.touch()

        if self._exchange is not None:
            try:
                self.result = await self._exchange.run(show)
            except ByzerError as err:
                self.end(err)
        return self

    def end(self, error: ByzerError | None = None) -> None:
        """Keep the part received as the result."""
        if self.result is None and self._exchange is not None:
            so_far = self._exchange.collector
            result = so_far.result(interrupted=error is not None or not so_far.complete)
            self.result = msgspec.structs.replace(result, error=error)

    def column(self) -> columns.Column:
        """Return its current state."""
        if self.result is not None or self._exchange is None:
            stopped = "failed" if self.result and self.result.error else "stopped"
            state = stopped if self.result and self.result.interrupted else "done"
            return columns.Column(alias=self.alias, state=state, result=self.result)
        so_far = self._exchange.collector
        text, reasoning = (so_far.text, so_far.reasoning) if isinstance(so_far, ChatCollector) else ("", "")
        return columns.Column(
            alias=self.alias,
            state="answering" if self._begun else "waiting",
            seconds=so_far.seconds,
            text=text,
            reasoning=reasoning,
            progress=progress.of(so_far).stage,
        )


def ask(
    manager: Manager, out: Output, asked: Mapping[str, Exchange | ByzerError], style: str,
    keep: Callable[[Answers], None],
) -> Answers:  # fmt: skip
    """Send all requests at once and show the responses; an interrupt stops all; the parts received are kept.

    Args:
        manager: runs the requests.
        out: shows the responses.
        asked: the request to each model, by alias; for one that does not respond, the error.
        style: as in `Output.answer`.
        keep: is called with the results before they are shown for the last time.
    """
    asking = [Asking(alias, exchange) for alias, exchange in asked.items()]
    views = {alias: View(style, key=secrets.token_hex(4)) for alias in asked}

    def draw() -> dict[str, str]:
        return columns.bundle([item.column() for item in asking], views)

    def end() -> None:
        answers.extend(item.result for item in asking if item.result is not None)
        keep(answers)

    answers = Answers()
    board = Repainted(draw) if out.shows_media else None
    finish(manager, out, asking, _ended(asking, board), board, lambda item: columns.plain(item.column()), end)
    return answers


def finish(
    manager: Manager, out: Output, asking: Sequence[Asking], ended: AsyncIterator[Asking], board: Repainted | None,
    plain: Callable[[Asking], str], keep: Callable[[], None],
) -> None:  # fmt: skip
    """Show the responses until all have ended; an interrupt stops all, and the parts received are kept.

    Args:
        manager: runs the requests.
        out: shows the responses where there is no board.
        asking: the requests.
        ended: sends them, and yields each that has ended.
        board: shows them where an output can be updated.
        plain: returns one that has ended as text.
        keep: is called before they are shown for the last time.
    """
    try:
        with closing(manager.iterate(ended)) as finished:  # type: ignore[type-var]  # a generator
            for item in finished:
                if board is None and (text := plain(item)):
                    out.text(text + "\n")
    except KeyboardInterrupt:
        pass
    finally:
        for item in asking:
            item.end()
        keep()
        if board is not None:
            board.close()


async def _ended(asking: Sequence[Asking], board: Repainted | None) -> AsyncIterator[Asking]:
    tasks = [asyncio.create_task(item.run(board)) for item in asking]
    try:
        for task in asyncio.as_completed(tasks):
            ended = await task
            if board is not None:
                board.touch()
            yield ended
    finally:
        for open_task in tasks:
            open_task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def check_judge(manager: Manager, judge: str, asked: Sequence[Exchange | ByzerError]) -> None:
    """Check that a deployment can compare these answers.

    Raises:
        NotDeployed: nothing is deployed as this alias.
        CommandError: it has no chat capability, or the results are not texts.
    """
    manager.reach(judge)
    if Capability.CHAT not in manager.run(manager.capabilities(judge)):
        raise CommandError(
            _("{alias} cannot be used with --judge: it has no chat capability.", alias=judge),
            _("Choose a model with the chat capability."),
        )
    rows = [TABLE[method_for(item.request)] for item in asked if isinstance(item, Exchange)]
    if any(row.returns != "text" for row in rows):
        raise CommandError(_("--judge compares texts, but these models return other results."), _("Remove --judge."))


def judged(manager: Manager, out: Output, judge: str, prompt: str, answers: Answers) -> None:
    """Ask one more model to compare the answers, which are labelled with letters; show its response."""
    texts = {item.model: text_of(item) for item in answers if not item.error and text_of(item)}
    if len(texts) < 2:
        out.say(gettext("Fewer than two models answered, so there is nothing to compare."))
        return
    answers.letters = lettered(prompt, list(texts))
    pairs = listed(f"{letter} = {alias}" for alias, letter in answers.letters.items())
    out.say(gettext("{judge} compares: {pairs}", judge=judge, pairs=pairs))
    exchange = converse(manager, judge, judge_messages(prompt, texts, answers.letters))

    def keep(found: Result) -> None:
        answers.judgement = found if isinstance(found, ChatResult) else None

    exchange.keep = keep
    out.answer(exchange, "markdown")


def lettered(prompt: str, aliases: Sequence[str]) -> dict[str, str]:
    """Return a letter for each model, in an order that reveals nothing and is the same for the same prompt."""
    seed = hashlib.sha256(json.dumps([prompt, sorted(aliases)]).encode()).digest()
    mixed = sorted(aliases)
    random.Random(seed).shuffle(mixed)  # noqa: S311 - a shuffle, not a secret
    return dict(zip(mixed, _letters(len(mixed)), strict=True))


def _letters(count: int) -> list[str]:
    alphabet = string.ascii_uppercase
    return [alphabet[at] if at < 26 else f"{alphabet[at // 26 - 1]}{alphabet[at % 26]}" for at in range(count)]


def judge_messages(prompt: str, texts: Mapping[str, str], letters: Mapping[str, str]) -> list[Message]:
    """Return the messages for the judge; the answers are in the order of their letters."""
    return quoted_messages(judge_prompts.SYSTEM, prompt, {letter: texts[alias] for alias, letter in letters.items()})


def quoted_messages(system: str, prompt: str, texts: Mapping[str, str]) -> list[Message]:
    """Return the messages for a judge: how to compare, and the quoted request and answers, by their letters."""
    answers = [judge_prompts.answer(letter, _quoted(text)) for letter, text in texts.items()]
    question = judge_prompts.question(_quoted(prompt), "\n\n".join(answers))
    return [Message("system", system), Message("user", question)]


def _quoted(text: str) -> str:
    """Return a text escaped so that it can neither end its quotation nor open another."""
    return re.sub(r"<(?=/?\s*(?:answer|request)\b)", "&lt;", text, flags=re.IGNORECASE)


def text_of(result: Result) -> str:
    """Return what a judge reads of a result; empty for one that is not a text."""
    return result.text if isinstance(result, ChatResult | TranscribeResult) else ""


def check_any_answered(answers: Sequence[Result]) -> None:
    """Raise RequestError when no model answered, and what a tape lacks: replaying it is not to go on without that."""
    for item in answers:
        if isinstance(item.error, JournalError):
            raise item.error
    if all(item.error for item in answers):
        aliases = listed(dict.fromkeys(item.model for item in answers))
        raise RequestError(_("None of {aliases} answered.", aliases=aliases), _("See the errors above."))
