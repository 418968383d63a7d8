"""A chat window in a cell."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from byzer_magic.errors import MissingExtra
from byzer_magic.spec import ChatViewSpec
from byzer_magic.widgets import assets
from byzer_magic.widgets.chat.window import Window
from byzer_magic.widgets.context import Context

ATTACH_BYTES = 20_000_000
"""A larger file is not sent through the page."""
OPEN: dict[str, Callable[[], None]] = {}
"""What closes the window of a cell, by the cell."""


def show(context: Context, item: ChatViewSpec) -> None:
    """Open it in the cell that is running.

    Raises:
        NotDeployed: nothing runs under the alias.
        MissingExtra: anywidget is not installed.
    """
    words = assets.texts("chat", chinese=context.chinese)
    if not context.has_kernel:
        context.output.say(words["terminal"].format(alias=item.model))
        return
    manager = context.manager
    manager.reach(item.model, item.ray_address)
    abilities = manager.run(manager.abilities(item.model))

    from IPython.display import DisplayHandle, display

    cell = _cell(context.shell)
    OPEN.pop(cell, lambda: None)()
    page, kept = _page(words), DisplayHandle()
    window = Window(context, item.model, item.session, item.system, page.send, lambda data: kept.update(data, raw=True))
    window.known({item.model: sorted(ability.value for ability in abilities)})
    page.start = {**window.setup(), "id": page.model_id}
    page.on_msg(lambda _, content, buffers: window.receive(content, buffers))
    context.shell.events.register("post_run_cell", window.refresh)

    def close() -> None:
        window.close()
        with contextlib.suppress(ValueError):  # somebody has reset the events
            context.shell.events.unregister("post_run_cell", window.refresh)
        page.close()

    OPEN[cell] = close
    display(page)
    kept.display(window.bundle(), raw=True)


def _cell(shell: Any) -> str:
    """Return the name of the running cell; nothing where the front end does not say it."""
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return str((parent.get("metadata") or {}).get("cellId") or "")


def _page(words: Mapping[str, str]) -> Any:
    try:
        import anywidget
        import traitlets
    except ImportError as err:
        raise MissingExtra(
            "A chat window needs the package anywidget.", "Run: pip install 'byzer-magic[notebook]'"
        ) from err

    class Chat(anywidget.AnyWidget):
        """The window's face. Its state is what it was opened with; all that is said goes by in messages."""

        _esm = assets.read("chat.js")
        _css = "".join(map(assets.read, ("answer.css", "transcript.css", "chat.css")))
        words = traitlets.Dict().tag(sync=True)
        start = traitlets.Dict().tag(sync=True)
        limit = traitlets.Int(ATTACH_BYTES).tag(sync=True)

    made = Chat(words=dict(words))
    with contextlib.suppress(AttributeError):
        # ipykernel 7 would let a click wait for the cell that runs, as the page has it in a thread of its own
        made.comm._reply_subshell_for = lambda _data, asked: asked
    return made
