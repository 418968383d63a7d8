"""Deployments as forms: what is live behind one cell.

The page draws and holds the fields, secrets too; the kernel says what fields there are, checks them, and does what the
buttons say. A secret comes here in the message of one button only, and is kept no longer than its work takes.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import queue
import threading
import uuid
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, wait
from typing import Any

from byzer_magic.errors import ByzerError, MissingExtra
from byzer_magic.runtime.loop import LOOP
from byzer_magic.spec import FormSpec
from byzer_magic.widgets import assets, form_choices, form_still, form_values
from byzer_magic.widgets.context import Context
from byzer_magic.widgets.form_checks import sentence
from byzer_magic.widgets.form_desk import Desk
from byzer_magic.widgets.form_job import CANCEL_SECONDS, Jobs, Told

Message = Mapping[str, Any]

OPEN: dict[str, Form] = {}
"""The forms that are live, by the cell that they are in."""


def show(context: Context, item: FormSpec) -> None:
    """Open a form in the cell that is running; an older one of the same cell ends, with what it was doing.

    Raises:
        UnknownKind: there is no such preset, type or engine.
        CommandError: the YAML file cannot be read.
        MissingExtra: anywidget is not installed.
    """
    values, choice = _beginning(item, context)
    if not context.has_kernel:
        line = form_values.line_of(values, (), None)
        context.output.text(form_still.terminal(line, chinese=context.chinese))
        return
    cell = _cell_id(context.shell)
    if (older := OPEN.get(cell)) is not None:
        older.close()
    OPEN[cell] = Form(context, values, choice, cell)


def close_all() -> None:
    """End all forms, with what they are doing."""
    ending = [form.close() for form in list(OPEN.values())]
    wait([work for work in ending if work is not None], timeout=CANCEL_SECONDS)


def _beginning(item: FormSpec, context: Context) -> tuple[dict[str, str], str]:
    """Return the first fields of a form and the choice that they belong to."""
    values: dict[str, str] = {}
    choice = form_choices.find(item.preset) if item.preset else ""
    if choice:
        names = {**os.environ, **context.variables()}
        values = form_choices.chosen(choice, {}, (), names)
    if item.file:
        spec = form_values.from_file(item.file)
        values |= form_values.values_of(spec)
        choice = choice or form_choices.id_of(spec)
    if item.ray_address != "auto":
        values["ray_address"] = item.ray_address
    return values, choice


def _cell_id(shell: Any) -> str:
    """Return the id of the cell that runs; where the front end does not tell, one of its own."""
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return str((parent.get("metadata") or {}).get("cellId") or uuid.uuid4().hex)


class Form:
    """A form, from its cell's run until the cell runs again or goes away."""

    def __init__(self, context: Context, values: dict[str, str], choice: str, cell: str) -> None:
        from IPython.display import DisplayHandle, display

        self._cell = cell
        self._id = f"bz{uuid.uuid4().hex[:12]}"
        self._chinese = context.chinese
        self._words = assets.texts("form", chinese=context.chinese)
        self._desk = Desk(context, values, choice)
        self._jobs = Jobs(context.manager, self._words, self._tell)
        self._inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._work: Future[None] | None = None
        self._told: Told | None = None
        """How the last piece of work stands, for a page that is loaded again."""
        self._shown: tuple[str, tuple[str, ...], str] = ("", (), "")
        self._outcome = ""
        self._closed = False
        self._widget = _widget(self._id, self._words, self._hear)
        display(form_still.mount(self._id, chinese=self._chinese), raw=True)
        self._still = DisplayHandle()
        self._still.display(self._still_data(), raw=True)
        threading.Thread(target=self._serve, name="byzer-form", daemon=True).start()

    # ---- life

    def close(self) -> Future[None] | None:
        """End it, and cancel what it does; return the work that is being cancelled, if there is some."""
        if self._closed:
            return None
        self._closed = True
        OPEN.pop(self._cell, None)
        self._inbox.put(None)
        if self._work is not None:
            self._work.cancel()
        self._send({"is": "end"})
        self._widget.close()
        return self._ended

    @property
    def _ended(self) -> Future[None] | None:
        return self._work_ended if self._work is not None and not self._work_ended.done() else None

    def _hear(self, message: Message) -> None:
        """Take a message of the page; this thread must not be held up."""
        if message.get("do") == "cancel":
            if self._work is not None:
                self._work.cancel()
        elif message.get("do") == "gone":
            self.close()
        else:
            self._inbox.put(message)

    def _serve(self) -> None:
        """Answer the page, one message after the other; of checks that wait, only the last counts."""
        waiting: list[Message | None] = []
        while True:
            waiting.append(self._inbox.get())
            while not self._inbox.empty():
                waiting.append(self._inbox.get_nowait())
            message = waiting.pop(0)
            if message is None or self._closed:
                return
            later = waiting[0] if waiting else None
            if message.get("do") == "check" and later is not None and later.get("do") == "check":
                continue
            while waiting or message is not None:
                if message is None:
                    return
                self._answer(message)
                message = waiting.pop(0) if waiting else None
                if message is None:
                    break

    def _answer(self, message: Message) -> None:
        try:
            getattr(self, f"_do_{message.get('do')}")(message)
        except ByzerError as err:
            self._send({"is": "trouble", "what": message.get("do"), "text": sentence(err)})
        except Exception as err:  # noqa: BLE001 - the page must hear of it, and the thread must live on
            self._send({"is": "trouble", "what": message.get("do"), "text": f"{type(err).__name__}: {err}"})
