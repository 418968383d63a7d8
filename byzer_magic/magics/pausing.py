"""A cell that waits for a decision: buttons where the page has them, else the input box of the cell."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from IPython.core.error import StdinNotImplementedError
from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle

from byzer_magic.client.reporter import Question
from byzer_magic.errors import MissingExtra
from byzer_magic.safety.texts import visible
from byzer_magic.widgets import question as buttons


def asked(question: Question) -> str | None:
    """Return what the user has decided; None where nobody can be asked: nbconvert and papermill take no input."""
    if threading.current_thread() is not threading.main_thread() or not _takes_input():
        return None
    with contextlib.suppress(MissingExtra):
        if (choice := _clicked(question)) is not None:
            return choice
    try:
        return input(visible(f"{question.text} {question.typed} "))
    except (StdinNotImplementedError, EOFError):
        return None


def _takes_input() -> bool:
    """Return whether the front end of the cell that runs has somebody who types."""
    kernel: Any = getattr(get_ipython(), "kernel", None)
    return bool(getattr(kernel, "_allow_stdin", False))  # of the request, which ipykernel tells nowhere else


def _clicked(question: Question) -> str | None:
    handle = DisplayHandle()

    def show(data: dict[str, str]) -> None:
        handle.display(data, raw=True)

    choice = None
    try:
        choice = buttons.clicked(question, show)
    finally:  # what was decided stays in the notebook
        handle.update({"text/plain": visible(f"{question.text} → {choice}") if choice else ""}, raw=True)
    return choice
