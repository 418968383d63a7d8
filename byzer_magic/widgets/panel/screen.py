"""The live panel: one subscription, shown in a cell; the saved notebook has its last numbers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import aclosing, suppress
from typing import Any

from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import PanelSpec
from byzer_magic.errors import ByzerError, MissingExtra
from byzer_magic.i18n import gettext as _
from byzer_magic.rendering.deployments import cells as stat_cells, table
from byzer_magic.rendering.markup import tag
from byzer_magic.runtime.cluster import address, this_machine
from byzer_magic.runtime.loop import LOOP
from byzer_magic.stat import Fleet
from byzer_magic.widgets import page
from byzer_magic.widgets.context import Context
from byzer_magic.widgets.panel import actions as panel_actions
from byzer_magic.widgets.panel.state import PanelState
from byzer_magic.widgets.panel.texts import script_texts

FIRST_SECONDS = 3.0
"""Seconds that the cell waits for the first numbers, so that a notebook that runs unattended has them."""
SNAPSHOT_SECONDS = 5.0
"""How often the snapshot is painted while a page renders the panel."""
ALONE_SECONDS = 1.0
"""How often it is painted where no page does."""
COMING_SECONDS = 0.5
"""How often it is painted while deployments come and go."""
CONNECT_SECONDS = 1.0
"""How long importing Ray waits for the deployments of this machine to be shown: it would delay them by seconds."""
RETRY_SECONDS = 2.0

OPEN: dict[str, Panel] = {}
"""The panels that are live, by the cell that they are in."""


def show(context: Context, item: PanelSpec) -> None:
    """Open it in the running cell; an older one of the same cell ends.

    Raises:
        CannotConnect: the Ray that was asked for does not answer.
    """
    if not context.has_kernel:
        _print(context, item)
        return
    if item.ray_address != "auto":
        context.manager.ensure(item.ray_address)
    cell = context.cell
    if (older := OPEN.get(cell)) is not None:
        older.close()
    panel = OPEN[cell] = Panel(context.manager, item.model, cell)
    try:
        panel.start()
    except BaseException:  # an interrupt too leaves nothing running
        panel.close()
        raise


def close_all() -> None:
    """End all panels; their last numbers stay."""
    for panel in list(OPEN.values()):
        panel.close()


def _print(context: Context, item: PanelSpec) -> None:
    manager = context.manager
    manager.ensure(item.ray_address)
    stats = [manager.run(manager.stat(item.model))] if item.model else manager.run(manager.stats())
    context.output.table(stat_cells.stat_rows(stats), _("Nothing is deployed."))
    context.output.say(_("For a table that refreshes: %byzer stat --interval 1"))


class Panel:
    """The live part behind one cell. All but `start` and `close` runs on the background loop."""

    def __init__(self, manager: Manager, alias: str | None, cell: str) -> None:
        from IPython.display import DisplayHandle, display

        self._manager = manager
        self._alias = alias
        self._cell = cell
        self._state = PanelState(manager)
        self._sent: table.View | None = None
        """What the page has; None: nothing yet, or it starts again."""
        self._drawn = False
        """Whether a page renders the panel."""
        self._prompt = False
        """Whether its messages come while a cell runs."""
        self._visible = True
        self._wake = asyncio.Event()
        self._closed = False
        self._painted = 0.0
        self._members: set[str] = set()
        """The deployments that the snapshot has."""
        self._first = threading.Event()
        self._work: Future[None] | None = None
        self._page = self._open_page()
        mount = (
            self._page.mount(table.STYLES, _("Deployments, live while their notebook runs"))
            if self._page
            else {"text/html": table.styles()}
        )
        display({"text/plain": _("Deployments, live while their notebook runs"), **mount}, raw=True)
        self._snapshot = DisplayHandle()
        looking = _("Looking for deployments …")
        snapshot = tag("div", tag("p", looking), class_="bz-panel bz-snapshot bz-still")
        self._snapshot.display({"text/html": snapshot, "text/plain": looking}, raw=True)

    def _open_page(self) -> page.Page | None:
        """Load the panel's script into the page; without anywidget the panel is its snapshot, updated more often."""
        state = {"words": script_texts(), "frame": table.frame()}
        try:
            return page.Page("panel/screen.js", state, self._hear)
        except MissingExtra:
            return None

    # ---- life

    def start(self) -> None:
        """Follow the deployments; return when the first numbers are there."""
        self._work = LOOP.spawn(self._live())
        self._first.wait(FIRST_SECONDS)

    def close(self) -> None:
        """End it; the snapshot stays as it is now."""
        if not self._closed:
            self._closed = True
            OPEN.pop(self._cell, None)
            LOOP.start().call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self._work is not None:
            self._work.cancel()
        self._state.close()
        self._paint_snapshot()
        if self._page is not None:
            self._page.send("end")
            self._page.close()

    async def _live(self) -> None:
        while True:
            if self._paused:
                await self._wake.wait()
                self._state.forget()
            try:
                await self._follow()
            except Exception as err:  # noqa: BLE001 - the panel shows it and tries again
                self._take(Fleet(self._state.fleet.models, str(err)))
                await asyncio.sleep(RETRY_SECONDS)

    async def _reach_others(self) -> None:
        """Connect to a running Ray, which knows deployments on other machines; never start one."""
        if self._state.fleet.models:
            await asyncio.sleep(CONNECT_SECONDS)
        await asyncio.to_thread(self._connect)

    def _connect(self) -> None:
        named = not address.resolve("auto", self._manager.settings).is_here
        with suppress(ByzerError):  # following reports it
            if named or this_machine.current_cluster() is not None:
                self._manager.ensure()

    async def _follow(self) -> None:
        async with aclosing(self._manager.follow(self._alias)) as fleets:  # type: ignore[type-var]  # a generator
            async for found in fleets:
                self._take(found)
                if self._paused:
                    return

    @property
    def _paused(self) -> bool:
        """Whether the panel is out of sight; never while its messages wait for a cell, as they would be late."""
        return not self._visible and self._prompt

    # ---- painting

    def _take(self, found: Fleet) -> None:
        self._state.take(found)
        self._paint()
        if not self._first.is_set():
            self._first.set()
            self._state.spawn(self._reach_others())

    def _paint(self) -> None:
        if self._closed:
            return
        if self._page is not None and self._visible:
            shown = self._state.view()
            self._page.send("update", **table.difference(self._sent, shown))
            self._sent = shown
        every = SNAPSHOT_SECONDS if self._drawn else ALONE_SECONDS
        if self._members != self._state.fleet.models.keys():
            every = COMING_SECONDS
        if time.monotonic() - self._painted > every:
            self._paint_snapshot()

    def _paint_snapshot(self) -> None:
        self._painted = time.monotonic()
        self._members = set(self._state.fleet.models)
        when = time.strftime("%Y-%m-%d %H:%M:%S")
        shown, text = table.snapshot(self._state.view(), self._state.stats, when)
        self._snapshot.update({"text/html": shown, "text/plain": text}, raw=True)

    # ---- the page

    def _hear(self, message: page.Message, _: Sequence[bytes]) -> None:
        """Take a message of the page; must return at once."""
        if threading.current_thread() is not threading.main_thread():
            self._prompt = True
        if not self._closed:
            LOOP.start().call_soon_threadsafe(self._answer, message)

    def _answer(self, message: Mapping[str, Any]) -> None:
        match message.get("type"):
            case "ready":
                self._drawn, self._sent = True, None
                self._painted = time.monotonic()  # the page first; the snapshot can wait
                self._paint()
            case "visible":
                self._visible = bool(message.get("visible"))
                (self._wake.set if self._visible else self._wake.clear)()
            case "open":
                self._state.open(str(message.get("model")), wanted=bool(message.get("open")))
                self._reply(message, {"state": "done"})
                self._take(self._state.fleet)
            case "close":
                self.close()
            case _:
                self._state.spawn(self._perform(message))

    async def _perform(self, message: Mapping[str, Any]) -> None:
        async for reply in panel_actions.perform(self._manager, message):
            self._reply(message, reply)

    def _reply(self, message: Mapping[str, Any], reply: panel_actions.Reply) -> None:
        if self._page is not None and not self._closed:
            self._page.send("reply", reply_to=int(message.get("id", 0)), **reply)
