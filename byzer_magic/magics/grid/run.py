"""Asking a grid: every combination of every model, as many at once as the deployments have slots."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from byzer_magic.actions.output import Output
from byzer_magic.client import estimates, journaling
from byzer_magic.client.converse import Exchange, aconverse
from byzer_magic.client.estimates import Estimate, Wanted
from byzer_magic.client.manager import Manager
from byzer_magic.client.replaying import REPLAY
from byzer_magic.commands.spec import ChatSpec
from byzer_magic.errors import ByzerError
from byzer_magic.i18n import gettext, lazy_gettext as _
from byzer_magic.magics import columns
from byzer_magic.magics.columns import Asking
from byzer_magic.magics.grid import values
from byzer_magic.magics.kept import Interrupted
from byzer_magic.magics.repaint import Repainted
from byzer_magic.rendering.answer import grid as rendering
from byzer_magic.results.grid import Combination, Grid
from byzer_magic.types import Message

MANY = 50
"""Requests; before more are sent, it is said what they may cost."""


Turn = tuple[Asking, int]
"""A request, and which sample of its answers is meant."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One answer of the grid."""

    asked: Combination
    prompt: str
    """As it is sent."""
    asking: Asking
    exchange: Exchange | None
    """None where the model does not respond."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A grid that can be asked."""

    item: ChatSpec
    aliases: Sequence[str]
    combinations: Sequence[Combination]
    cells: Sequence[Cell]
    """Row by row, in each the models in their order."""

    @property
    def wanted(self) -> list[Wanted]:
        """Return the requests."""
        return [
            Wanted(cell.exchange.alias, cell.exchange.request, cell.asked.sample)
            for cell in self.cells
            if cell.exchange is not None
        ]

    def rows(self) -> list[rendering.Row]:
        """Return the rows as they are now."""
        width = len(self.aliases)
        found = [cell.asking.column() for cell in self.cells]
        return [
            rendering.Row(asked=asked, columns=found[place * width : (place + 1) * width])
            for place, asked in enumerate(self.combinations)
        ]

    def result(self) -> Grid:
        """Return the results so far."""
        known = [(cell.asking.result, cell.asked) for cell in self.cells if cell.asking.result is not None]
        heat = None if isinstance(self.item.temperature, tuple) else self.item.temperature
        return Grid((result for result, _asked in known), (asked for _result, asked in known), heat)


def prepared(
    manager: Manager, item: ChatSpec, aliases: Sequence[str], prompt: str, variables: Mapping[str, Any],
    messages: Callable[[str, str | None], list[Message]],
) -> Prepared:  # fmt: skip
    """Return a grid of which everything is checked that can be checked before a request is sent.

    Args:
        manager: connects to the deployments.
        item: the cell's first line.
        aliases: the models.
        prompt: the prompt, not filled in.
        variables: the notebook's.
        messages: returns the conversation of a prompt and a system prompt.

    Raises:
        NotDeployed: one of the models is not deployed.
        CommandError: the grid cannot be read, or the prompt lacks what a model needs.
    """
    combinations = values.axes(item, prompt, len(aliases), variables).combinations()
    prompts = [values.filled(prompt, asked, variables) for asked in combinations]
    systems = [values.filled(item.system, asked, variables) if item.system else None for asked in combinations]
    conversations = [messages(text, system) for text, system in zip(prompts, systems, strict=True)]

    async def opened(alias: str) -> list[Exchange]:
        return [
            await aconverse(
                manager, alias, conversation, options=values.request_options(item, asked), stream=not item.no_stream,
                timeout=item.timeout,
            )
            for asked, conversation in zip(combinations, conversations, strict=True)
        ]  # fmt: skip

    def open_all(alias: str) -> list[Exchange]:
        manager.reach(alias)
        return manager.run(opened(alias))

    found = columns.exchanges(manager, aliases, open_all)
    cells = []
    for place, asked in enumerate(combinations):
        for alias in aliases:
            several = found[alias]
            one = several if isinstance(several, ByzerError) else several[place]
            exchange = None if isinstance(one, ByzerError) else one
            cells.append(Cell(asked=asked, prompt=prompts[place], asking=Asking(alias, one), exchange=exchange))
    return Prepared(item=item, aliases=aliases, combinations=combinations, cells=cells)


def estimate_line(found: Estimate) -> str:
    """Return an estimate as one line."""
    return rendering.estimate(found.requests, found.known, found.costs, found.unpriced)


def show(manager: Manager, out: Output, grid: Prepared) -> None:
    """Show what would be asked, and what that would roughly cost."""
    wanted = grid.wanted
    known = iter(manager.run(estimates.known(manager, wanted)))
    sampled = grid.item.samples > 1
    states = [
        gettext("does not respond") if cell.exchange is None
        else gettext("in the journal") if next(known) else gettext("to ask")
        for cell in grid.cells
    ]  # fmt: skip
    width = len(grid.aliases)
    rows = [
        rendering.values_of(asked, sampled=sampled)
        | dict(zip(grid.aliases, states[place * width : (place + 1) * width], strict=True))
        for place, asked in enumerate(grid.combinations)
    ]
    out.table(rows, "")
    out.say(estimate_line(manager.run(estimates.estimated(manager, wanted))))


def ask(manager: Manager, out: Output, grid: Prepared, keep: Callable[[Grid], None]) -> Grid:
    """Ask all, and show the answers in one table while they arrive; an interrupt stops all.

    Args:
        manager: runs the requests.
        out: shows the table.
        grid: what to ask.
        keep: is called with the results before they are shown for the last time.

    Raises:
        Interrupted: by Ctrl-C; what has arrived is kept.
        RequestError: no request was answered.
    """
    if len(grid.cells) > MANY:
        out.say(estimate_line(manager.run(estimates.estimated(manager, grid.wanted))))
    table = rendering.Table(grid.item.format, secrets.token_hex(4))
    began = time.monotonic()
    ended_at: list[float] = []
    found: list[Grid] = []

    def note(rows: Sequence[rendering.Row]) -> str:
        text = rendering.summary(rows, (ended_at[0] if ended_at else time.monotonic()) - began)
        return f"{text} · {tip}" if ended_at and tip else text

    def draw() -> dict[str, str]:
        rows = grid.rows()
        return table.bundle(rows, note(rows))

    def plain(asking: Asking) -> str:
        cell = next(cell for cell in grid.cells if cell.asking is asking)
        return rendering.plain(rendering.Row(asked=cell.asked, columns=[]), asking.column())

    def end() -> None:
        ended_at.append(time.monotonic())
        found.append(grid.result())
        keep(found[0])

    tip = _tip(manager)
    board = Repainted(draw) if out.shows_media else None
    turns = [(cell.asking, cell.asked.sample) for cell in grid.cells]
    columns.finish(manager, out, [one for one, _sample in turns], in_turn(manager, turns, board), board, plain, end)
    if board is None:
        out.say(note(grid.rows()))
    if any(result.interrupted and not result.error for result in found[0]):
        raise Interrupted(_("Interrupted: the parts that arrived are kept in _chat."))
    columns.check_any_answered(found[0])
    return found[0]


async def in_turn(manager: Manager, turns: Sequence[Turn], board: Repainted | None) -> AsyncIterator[Asking]:
    """Send the requests, to each deployment as many at once as it has slots, and yield each that has ended."""
    ended: asyncio.Queue[Asking | None] = asyncio.Queue()

    async def work(mine: Iterator[Turn]) -> None:
        try:
            for asking, sample in mine:
                with journaling.using(replace(journaling.HOW.get(), sample=sample)):
                    ended.put_nowait(await asking.run(board))
        finally:
            ended.put_nowait(None)

    tasks = []
    for alias in dict.fromkeys(asking.alias for asking, _sample in turns):
        own = [turn for turn in turns if turn[0].alias == alias]
        shared = iter(own)  # whoever is free takes the next
        count = min(len(own), await _slots(manager, alias))
        tasks += [asyncio.create_task(work(shared)) for _worker in range(count)]
    try:
        working = len(tasks)
        while working:
            one = await ended.get()
            if board is not None:
                board.touch()
            if one is None:
                working -= 1
            else:
                yield one
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _slots(manager: Manager, alias: str) -> int:
    try:
        return estimates.in_flight(await manager.stat(alias))
    except ByzerError:  # its requests have the error
        return 1


def _tip(manager: Manager) -> str:
    """Return how a changed grid asks only what is new; empty where it does."""
    if journaling.JOURNAL.is_on(manager.settings) or REPLAY.connection(manager.settings) is not None:
        return ""
    return gettext("with %byzer journal on, a changed grid asks only its new cells")
