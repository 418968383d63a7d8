"""The deploy form: the live part behind one cell.

The page renders and holds the fields, secrets included; the kernel sends the list of fields, checks them, and runs the
actions of the buttons. A secret is sent here with one button only, and is kept no longer than its action takes.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import queue
import threading
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from byzer_magic.commands.spec import FormSpec
from byzer_magic.errors import ByzerError, NotFetched
from byzer_magic.i18n import gettext as _
from byzer_magic.runtime.loop import LOOP
from byzer_magic.widgets.context import Context
from byzer_magic.widgets.form import choices as form_choices, saved, values as form_values
from byzer_magic.widgets.form.checks import sentence
from byzer_magic.widgets.form.controller import Controller
from byzer_magic.widgets.form.jobs import CANCEL_SECONDS, Jobs, Status
from byzer_magic.widgets.form.texts import script_texts
from byzer_magic.widgets.page import Message, Page

OPEN: dict[str, Form] = {}
"""The forms that are live, by the cell that they are in."""


def show(context: Context, item: FormSpec) -> None:
    """Open a form in the running cell; an older one of the same cell ends, with its action.

    Raises:
        UnknownKind: there is no such preset, type or engine.
        CommandError: the YAML file cannot be read.
        MissingExtra: anywidget is not installed.
    """
    values, choice = _beginning(item, context)
    if not context.has_kernel:
        line = form_values.line_of(values, (), None)
        context.output.text(saved.terminal(line))
        return
    cell = context.cell
    if (older := OPEN.get(cell)) is not None:
        older.close()
    OPEN[cell] = Form(context, Controller(context, values, choice), cell)


def close_all() -> None:
    """End all forms, with their actions."""
    ending = list(OPEN.values())
    for form in ending:
        form.close()
    for form in ending:
        form.ended.wait(CANCEL_SECONDS)


def _beginning(item: FormSpec, context: Context) -> tuple[dict[str, str], str]:
    """Return the first fields of a form, and the choice that they belong to."""
    values = {} if item.file else {"check": "true"}
    choice = form_choices.find(item.preset) if item.preset else ""
    if choice:
        values = form_choices.chosen(choice, {}, (), {**os.environ, **context.variables()})
    if item.file:
        spec = form_values.from_file(item.file)
        values |= form_values.values_of(spec)
        choice = choice or form_choices.id_of(spec)
    if item.ray_address != "auto":
        values["ray_address"] = item.ray_address
    return values, choice


class Form:
    """A form, from its cell's run until the cell runs again or is deleted."""

    def __init__(self, context: Context, controller: Controller, cell: str) -> None:
        from IPython.display import DisplayHandle, display

        self._cell = cell
        self._controller = controller
        self._jobs = Jobs(context.manager, self._report)
        self._inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._work: Future[None] | None = None
        self.ended = threading.Event()
        """Set while no action runs."""
        self.ended.set()
        self._status: Status | None = None
        """The last status of an action, for a page that is loaded again."""
        self._outcome = ""
        self._closed = False
        self._page = Page("form/screen.js", {"words": script_texts()}, self._hear)
        display(self._page.mount(("form.css",), _("A deployment form; run this cell to open it.")), raw=True)
        self._shown = self._saved_output()
        self._saved = DisplayHandle()
        self._saved.display(self._shown, raw=True)
        for name, work in {"byzer-form": self._serve, "byzer-form-survey": self._survey}.items():
            context_here = contextvars.copy_context()  # a thread of its own would not know the language of `using`
            threading.Thread(target=context_here.run, args=(work,), name=name, daemon=True).start()

    # ---- life

    def close(self) -> None:
        """End it, and cancel its action; `ended` is set when that has cleaned up."""
        if self._closed:
            return
        self._closed = True
        OPEN.pop(self._cell, None)
        self._inbox.put(None)
        self._cancel()
        self._page.send("end")
        self._page.close()

    def _cancel(self) -> None:
        if self._work is not None:
            self._work.cancel()

    def _hear(self, message: Message, _: Sequence[bytes]) -> None:
        """Take a message of the page; must return at once."""
        match message.get("type"):
            case "cancel":
                self._cancel()
            case "close":
                self.close()
            case _:
                self._inbox.put(message)

    def _serve(self) -> None:
        """Answer the page, one message after the other; skip a check when newer messages wait."""
        while (message := self._inbox.get()) is not None:
            if message.get("type") == "check" and not self._inbox.empty():
                continue
            try:
                getattr(self, f"_do_{message.get('type')}")(message)
                self._repaint()
            except ByzerError as err:
                self._reply(message, "error", request=message.get("type"), text=sentence(err))
            except Exception as err:  # noqa: BLE001 - the page shows it, and this thread must continue
                self._reply(message, "error", request=message.get("type"), text=f"{type(err).__name__}: {err}")

    def _send(self, kind: str, /, **fields: Any) -> None:
        if not self._closed:
            self._page.send(kind, **fields)

    def _reply(self, message: Message, kind: str, /, **fields: Any) -> None:
        self._send(kind, reply_to=int(message.get("id", 0)), **fields)

    def _survey(self) -> None:
        try:
            self._send("machine", **self._controller.survey())
        except Exception as err:  # noqa: BLE001 - no file on the machine may break the form
            self._send("machine", models=[], room=f"{type(err).__name__}: {err}")

    # ---- what the page asks for

    def _do_ready(self, message: Message) -> None:
        self._reply(message, "form", **self._controller.opening(), work=self._status)

    def _do_check(self, message: Message) -> None:
        found = self._controller.check(message.get("values", {}), tuple(message.get("typed", ())))
        self._reply(message, "checked", **found)

    def _do_choose(self, message: Message) -> None:
        self._controller.choose(str(message["choice"]), message.get("kept", {}))
        self._reply(message, "form", **self._controller.form())

    def _do_paste(self, message: Message) -> None:
        self._controller.paste(str(message["text"]))
        self._reply(message, "form", **self._controller.form(), pasted=True)

    def _do_keys(self, message: Message) -> None:
        self._reply(message, "keys", **self._controller.entries(str(message["key"])))

    def _do_deploy(self, message: Message) -> None:
        self._plan_and("deploy", message)

    def _do_test(self, message: Message) -> None:
        self._plan_and("test", message)

    def _plan_and(self, what: str, message: Message) -> None:
        """Check all fields, secrets included, and start; where one is wrong, the fields show it."""
        if not self.ended.is_set():
            return
        values, secrets = message.get("values", {}), message.get("secrets", {})
        try:
            plan = self._controller.plan(values, secrets)
        except NotFetched as err:
            self._begin(self._fetch_and(what, str(err.details["model"]), values, secrets))
            return
        except ByzerError as err:
            self._jobs.failed(err, "", tuple(secrets.values()))
            return
        if plan is None:
            self._reply(message, "refused", **self._controller.check(values, tuple(secrets)))
        else:
            self._begin(getattr(self._jobs, what)(plan))

    async def _fetch_and(self, what: str, model: str, values: Mapping[str, str], secrets: Mapping[str, str]) -> None:
        """Download a model, then start; where that is only to be looked at, look what the download would take."""
        spec = self._controller.spec
        if what == "test" or spec.dry_run:
            await self._jobs.preview(model, spec)
        elif await self._jobs.fetch(model, spec):
            try:
                plan = await asyncio.to_thread(self._controller.plan, values, secrets)
            except ByzerError as err:
                self._jobs.failed(err, "", tuple(secrets.values()))
                return
            if plan is not None:
                await getattr(self._jobs, what)(plan)

    def _do_undeploy(self, message: Message) -> None:
        if self.ended.is_set():
            self._begin(self._jobs.undeploy(str(message["alias"]), self._controller.values.get("ray_address", "auto")))

    # ---- work

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self.ended.clear()

        async def run() -> None:
            try:
                await work
            finally:
                self.ended.set()

        self._work = LOOP.spawn(run())
        if self._closed:
            self._work.cancel()

    def _report(self, status: Status) -> None:
        self._status = status
        if status["state"] != "running":
            self._outcome = str(status["stage"])
            self._repaint()
        self._send("progress", **status)

    # ---- what stays in the notebook

    def _saved_output(self) -> dict[str, str]:
        controller = self._controller
        return saved.output(controller.line, controller.references, self._outcome)

    def _repaint(self) -> None:
        data = self._saved_output()
        if data != self._shown:
            self._shown = data
            self._saved.update(data, raw=True)
