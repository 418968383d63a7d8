"""A question in a cell that runs: buttons, and the answer goes on where the cell waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from byzer_magic.client.reporter import Question
from byzer_magic.rendering.markup import tag
from byzer_magic.widgets.page import Message, Page

READY_SECONDS = 5.0
"""A front end whose script has not reported by then has none, or its messages wait until the cell has ended."""
LOOK_SECONDS = 0.2
"""An interrupt is noticed within this time."""

Show = Callable[[dict[str, str]], None]


def clicked(question: Question, show: Show) -> str | None:
    """Show buttons and wait for a click; return its choice, or None where the front end has no buttons.

    Args:
        question: what is to be decided.
        show: shows an output in the place of the one before.

    Raises:
        MissingExtra: anywidget is not installed.
        KeyboardInterrupt: the kernel was interrupted meanwhile.
    """
    ready, done = threading.Event(), threading.Event()
    answer = ""

    def receive(message: Message, _buffers: Sequence[bytes]) -> None:
        nonlocal answer
        ready.set()
        if message.get("type") == "choose":
            answer = str(message.get("choice", ""))
        elif message.get("type") == "gone":
            answer = question.choices[-1]
        if answer:
            done.set()

    page = Page("question.js", {"text": question.text, "choices": [*question.choices]}, receive)
    try:
        show(page.mount(("question.css",), question.text, tag("p", question.text, class_="bz-still")))
        if not ready.wait(READY_SECONDS):
            return None
        while not done.wait(LOOK_SECONDS):
            pass
        return answer
    finally:
        page.send("end")
        page.close()
