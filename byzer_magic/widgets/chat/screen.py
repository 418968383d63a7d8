"""A chat window in a cell."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from byzer_magic.commands.spec import ChatViewSpec
from byzer_magic.i18n import gettext as _
from byzer_magic.widgets.chat.controller import Window
from byzer_magic.widgets.chat.texts import script_texts
from byzer_magic.widgets.context import Context
from byzer_magic.widgets.page import Message, Page

ATTACH_BYTES = 20_000_000
"""A larger file is not sent through the page."""
STYLES = ("answer.css", "footer.css", "transcript.css", "chat.css")
OPEN: dict[str, Callable[[], None]] = {}
"""Closes the window of a cell, by the id of the cell."""


def show(context: Context, item: ChatViewSpec) -> None:
    """Open it in the running cell; an older one of the same cell ends.

    Raises:
        NotDeployed: nothing runs under the alias.
        MissingExtra: anywidget is not installed.
    """
    if not context.has_kernel:
        context.output.say(
            _("The chat window needs a notebook. In a terminal, use: %chat {alias} your prompt", alias=item.model)
        )
        return
    manager = context.manager
    manager.reach(item.model, item.ray_address)
    capabilities = manager.run(manager.capabilities(item.model))
    if item.session:
        manager.run(context.sessions.pull(manager, item.model, item.session))

    from IPython.display import DisplayHandle, display

    cell, kept = context.cell, DisplayHandle()
    if (close_older := OPEN.get(cell)) is not None:
        close_older()

    def close() -> None:
        OPEN.pop(cell, None)
        window.close()
        with contextlib.suppress(ValueError):  # the user has reset the events
            context.shell.events.unregister("post_run_cell", window.refresh)
        page.close()

    def on_message(message: Message, buffers: Sequence[bytes]) -> None:
        if message.get("type") == "close":
            close()
        else:
            window.receive(message, buffers)

    page = Page("chat/screen.js", {"words": script_texts(), "limit": ATTACH_BYTES}, on_message)
    window = Window(context, item.model, item.session, item.system, page.send, lambda data: kept.update(data, raw=True))
    window.offer(manager.run(context.sessions.offered(manager, item.model)))
    window.known({item.model: sorted(capability.value for capability in capabilities)})
    context.shell.events.register("post_run_cell", window.refresh)
    OPEN[cell] = close
    display(page.mount(STYLES, _("Chat with {alias}", alias=item.model)), raw=True)
    kept.display(window.bundle(), raw=True)


def close_all() -> None:
    """End all windows, with the answers that are streaming; the parts received stay."""
    for close in list(OPEN.values()):
        close()
