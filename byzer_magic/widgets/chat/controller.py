"""The actions of a chat window: messages of the page in, replies out, on the background loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from byzer_magic import media as load
from byzer_magic.client import journaling
from byzer_magic.client.collect import AnyCollector
from byzer_magic.client.converse import Exchange, aconverse
from byzer_magic.client.messages import to_messages
from byzer_magic.client.scope import SCOPE
from byzer_magic.errors import ByzerError, CommandError, RequestError
from byzer_magic.i18n import gettext as _
from byzer_magic.log import get_logger
from byzer_magic.rendering.answer.view import View
from byzer_magic.results import Result
from byzer_magic.runtime.loop import LOOP
from byzer_magic.types import Media
from byzer_magic.widgets.chat import html as chat_html, settings as chat_settings, turns as chat_turns
from byzer_magic.widgets.chat.turns import Conversation, Turn
from byzer_magic.widgets.context import Context
from byzer_magic.widgets.recorder import Pieces

LOG = get_logger("widgets")
PAINT_SECONDS = 0.05
"""Shortest time between two updates of a streaming answer."""
REST = 9
"""The pause after an update, as a multiple of the time that the update took."""
CLOCK_SECONDS = 1.0
"""Seconds between two updates of the progress of an answer that is not text."""
KEEP_SECONDS = 3.0
"""Seconds between two saves of a partial answer: the kernel may end at any time."""
LOOK_SECONDS = 10.0
"""Seconds that deployments may take to report their capabilities."""

BY_HAND = journaling.How(read=False, known=False)
"""Nobody runs a window again: its requests are kept in the journal and answered by the model, and a cell that asks the
same keeps its own answer."""

Send = Callable[..., None]
"""`Page.send`."""


class Window:
    """One chat window; `send` reaches its page, `keep` stores the output that is shown without a kernel."""

    def __init__(
        self, context: Context, alias: str, session: str | None, system: str | None, send: Send,
        keep: Callable[[dict[str, str]], None],
    ) -> None:  # fmt: skip
        self._context = context
        self._send = send
        self._keep = keep
        self._origin = SCOPE.origin
        self.alias = alias
        self.session = session or self._new_name()
        self._seen = context.sessions.get(self.session, [])
        """The session as this window last read or wrote it."""
        self.talk = Conversation(self._seen, system)
        self._options: dict[str, Any] = {}
        self._models: dict[str, list[str]] = {}
        self._shared: set[str] = set()
        """The sessions of the deployment, which other faces may have begun."""
        self._coming: dict[str, Pieces] = {}
        self._attached: dict[str, Media] = {}
        self._answering: Future[None] | None = None
        self._keeping = asyncio.Lock()

    def _new_name(self) -> str:
        """Return a name for a session of this window, which stays in this notebook: others may have the same."""
        name = chat_turns.free_name(self._context.sessions)
        self._context.sessions.private.add(name)
        return name

    # ---- from outside, out of any thread

    def receive(self, content: Mapping[str, Any], buffers: Sequence[Any] = ()) -> None:
        """Take a message of the page."""
        LOOP.start().call_soon_threadsafe(self._take, dict(content), [bytes(buffer) for buffer in buffers])

    def refresh(self, *_: Any) -> None:
        """Take over what other cells, notebooks and shells have added to the session."""
        LOOP.spawn(self._pull_shared())

    def close(self) -> None:
        """Stop the answer that is streaming."""
        LOOP.start().call_soon_threadsafe(self._stop)

    def known(self, models: Mapping[str, Sequence[str]]) -> None:
        """Add the capabilities of deployments."""
        self._models |= {name: [str(capability) for capability in can] for name, can in models.items()}

    def setup(self) -> dict[str, Any]:
        """Return all that the page needs to render the window."""
        return {
            "alias": self.alias,
            "models": self._models,
            "session": self.session,
            "sessions": self._names(),
            "system": self.talk.system,
            "turns": [self._entry(turn) for turn in self.talk.turns],
            "running": self._answering is not None,
        }

    def offer(self, sessions: Iterable[str]) -> None:
        """Offer the sessions that the deployment has."""
        self._shared = set(sessions)

    def _names(self) -> list[str]:
        return sorted({*self._context.sessions, *self._shared, self.session})

    def bundle(self) -> dict[str, str]:
        """Return the output that is shown without a kernel."""
        return chat_html.transcript(self.talk.turns, self.talk.system, self.alias)

    # ---- on the loop

    def _take(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        known: dict[str, Callable[[dict[str, Any]], None]] = {
            "ready": self._ready, "ask": self._ask, "stop": lambda _: self._stop(), "model": self._choose,
            "session": self._enter, "settings": self._set, "models": self._seek,
            "export": self._export,
        }  # fmt: skip
        self._reply(content, "received")
        try:
            if content.get("type") == "piece" and buffers:
                self._piece(content, buffers[0])
            elif content.get("type") in known:
                known[content["type"]](content)
        except ByzerError as err:
            self._refuse(err, content)

    def _refuse(self, err: ByzerError, content: Mapping[str, Any]) -> None:
        self._reply(content, "refused", text=err.localized(), file=content.get("file"), prompt=content.get("text"))

    def _reply(self, content: Mapping[str, Any], kind: str, **fields: Any) -> None:
        self._send(kind, reply_to=int(content.get("id", 0)), **fields)

    def _ready(self, content: dict[str, Any]) -> None:
        self._show()
        if self._context.manager.connected:  # else it takes a while, and waits for the user to ask for it
            self._seek(content)

    def _show(self) -> None:
        self._send("setup", **self.setup())

    def _entry(self, turn: Turn) -> dict[str, Any]:
        return chat_html.entry(turn)

    def _stop(self) -> None:
        if self._answering is not None:
            self._answering.cancel()

    def _idle(self) -> None:
        if self._answering is not None:
            raise CommandError(_("An answer is still streaming. Stop it first."))

    def _choose(self, content: dict[str, Any]) -> None:
        self.alias = str(content["alias"])
        self._show()

    def _enter(self, content: dict[str, Any]) -> None:
        self._idle()
        self.session = str(content.get("name") or "") or self._new_name()
        self._seen = self._context.sessions.get(self.session, [])
        self.talk = Conversation(self._seen)
        self._show()
        LOOP.spawn(self._kept())
        LOOP.spawn(self._pull_shared())

    async def _pull_shared(self) -> None:
        manager = self._context.manager
        if manager.connection.cached(self.alias) is not None:  # else nothing has been asked
            await self._context.sessions.pull(manager, self.alias, self.session)
        self._pull()

    def _pull(self) -> None:
        now = self._context.sessions.get(self.session, [])
        if now == self._seen or self._answering is not None:
            return
        self._seen = now
        self.talk.read(now)
        self._show()
        LOOP.spawn(self._kept())

    def _set(self, content: dict[str, Any]) -> None:
        self.talk.system = str(content.get("system") or "").strip()
        self._options = chat_settings.settings_in(content)
        self._reply(content, "settings")

    def _seek(self, _: dict[str, Any]) -> None:
        LOOP.spawn(self._look())

    async def _look(self) -> None:
        """Ask all deployments for their capabilities."""
        with contextlib.suppress(ByzerError, TimeoutError):
            await asyncio.to_thread(self._context.manager.ensure)
            stats = await asyncio.wait_for(self._context.manager.stats(), LOOK_SECONDS)
            self._models = {stat.model: list(stat.capabilities) for stat in stats if stat.capabilities}
        self._send("models", models=self._models)

    def _piece(self, content: dict[str, Any], data: bytes) -> None:
        file = str(content["file"])
        content_bytes = self._coming.setdefault(file, Pieces()).add(int(content["at"]), int(content["of"]), data)
        if content_bytes is None:
            return
        self._coming.pop(file)
        source = load.image if str(content.get("kind")) == "image" else load.audio
        self._attached[file] = source(content_bytes)

    def _export(self, content: dict[str, Any]) -> None:
        turns = self.talk.turns
        text = chat_turns.as_markdown(turns, self.talk.system, self.alias)
        cells = chat_turns.as_cells(turns, self.talk.system, self.alias, self.session)
        lost = any(chat_turns.media_of(turn.prompt) for turn in turns)
        self._reply(content, "export", to=content.get("to"), text=text, cells=cells, lost=lost)

    # ---- answers

    def _ask(self, content: dict[str, Any]) -> None:
        """Send the prompt; with `at`, in place of an earlier turn and all later ones."""
        self._idle()
        at = int(content.get("at") or 0)
        before = self.talk.turn(at)
        earlier = chat_turns.media_of(before.prompt) if before is not None else []
        text = str(content.get("text") or "").strip()
        found = [self._attached.pop(str(file)) for file in content.get("files") or [] if str(file) in self._attached]
        if not (text or found or earlier):
            return
        turn = Turn(to_messages(text, None, [*earlier, *found])[0], self.alias, running=True)
        self.talk.truncate(at)
        self.talk.turns.append(turn)
        self._send("turn", replaces=at, turn=self._entry(turn), state="working")
        self._answering = LOOP.spawn(self._answer(turn))
        LOOP.spawn(self._kept())

    async def _answer(self, turn: Turn) -> None:
        exchange: Exchange | None = None
        state = "done"
        try:
            exchange = await self._exchange(turn)
            with journaling.using(replace(BY_HAND, origin=self._origin)):
                turn.take(await self._drained(turn, exchange))
        except asyncio.CancelledError:
            state = "done" if exchange is not None and exchange.collector.complete else "stopped"
            self._part(turn, exchange)
        except ByzerError as err:
            state, turn.error = "failed", err
            if isinstance(err, RequestError):
                self._part(turn, exchange)
        except Exception as err:  # noqa: BLE001 - nothing else sees the errors of this task
            state, turn.error = "failed", ByzerError(f"{type(err).__name__}: {err}")
        turn.running = False
        self._answering = None
        self._write(turn)
        self._send("turn", replaces=0, turn=self._entry(turn), state=state, sessions=self._names())
        await self._share(turn)
        await self._kept()

    @staticmethod
    def _part(turn: Turn, exchange: Exchange | None) -> None:
        """Keep the partial answer; before any output there is only the error."""
        if exchange is None:
            return
        so_far = exchange.collector
        result = so_far.result(interrupted=bool(turn.error) or not so_far.complete)
        if str(result) or not turn.error:
            turn.take(result)

    async def _exchange(self, turn: Turn) -> Exchange:
        manager = self._context.manager
        await asyncio.to_thread(manager.reach, turn.alias)
        capabilities = await manager.capabilities(turn.alias)
        self.known({turn.alias: [capability.value for capability in capabilities]})
        chat_settings.check(turn, capabilities, self._models)
        await self._context.sessions.pull(manager, turn.alias, self.session)
        self._catch_up(turn)
        return await aconverse(manager, turn.alias, self.talk.asking(turn.prompt), options=self._options)

    def _catch_up(self, turn: Turn) -> None:
        """Take over what others have added to the session, before a turn that is about to be sent."""
        now = self._context.sessions.get(self.session, [])
        if now == self._seen:
            return
        self._seen = now
        self.talk.turns.remove(turn)
        self.talk.read(now)
        self.talk.turns.append(turn)
        self._show()

    async def _drained(self, turn: Turn, exchange: Exchange) -> Result:
        news = asyncio.Event()
        painting = asyncio.create_task(self._paint(turn, exchange.collector, news))
        try:
            return await exchange.run(lambda _item: news.set())
        finally:
            painting.cancel()
            await asyncio.wait({painting})
            if not painting.cancelled() and (failed := painting.exception()):  # the answer itself is complete
                LOG.warning("the answer could not be shown while it arrived", exc_info=failed)

    async def _paint(self, turn: Turn, collector: AnyCollector, news: asyncio.Event) -> None:
        """Send the blocks of an answer that have changed."""
        view = View(key=f"t{turn.number}")
        sent: list[Markup] = []
        kept = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOCK_SECONDS):  # wait_for loses a cancellation that arrives with the event
                    await news.wait()
            news.clear()
            began = time.perf_counter()
            now = await asyncio.to_thread(lambda: view.blocks(chat_html.partial(collector)))
            pairs = enumerate(zip(sent, now, strict=False))
            same = next((at for at, (old, new) in pairs if old != new), min(len(sent), len(now)))
            if now != sent:
                self._send("blocks", turn=turn.number, begin=same, blocks=now[same:])
            sent = turn.part = now
            if time.monotonic() - kept > KEEP_SECONDS:
                kept = time.monotonic()
                await self._kept()
            await asyncio.sleep(max(PAINT_SECONDS, REST * (time.perf_counter() - began)))

    def _write(self, turn: Turn) -> None:
        """Store the answer in the notebook: as `_chat`, and in the session."""
        if turn.result is not None:
            self._context.shell.user_ns["_chat"] = turn.result
        messages = self.talk.messages()
        if messages and any(known.replies for known in self.talk.turns):
            self._context.sessions[self.session] = self._seen = messages

    async def _share(self, turn: Turn) -> None:
        """Store the session for other notebooks and shells, and show what they have added meanwhile."""
        if turn.replies:
            await self._context.sessions.push(self._context.manager, turn.alias, self.session)
            self._pull()

    async def _kept(self) -> None:
        async with self._keeping:  # or an older output could be stored last
            self._keep(await asyncio.to_thread(self.bundle))
