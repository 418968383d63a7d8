"""A script in the page that shows the notebook, and messages to it and back.

The script belongs to a widget that is never shown. So a saved notebook has plain HTML only, and whoever opens it
without its kernel is not told that a widget is missing; the script finds its place in that HTML by an attribute.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from byzer_magic.widgets import assets

Hear = Callable[[Mapping[str, Any]], None]
"""Takes a message of the page, and must return at once; a page that can sends it to a thread of its own."""


class Page:
    """The kernel's end of a script.

    `script` is a file of `static/` whose default export has `initialize({model})`: there `model.get("state")` is what
    the script begins with, `model.on("msg:custom", ...)` and `model.send(...)` are the messages. They go through while
    a cell runs, whatever thread sends them.
    """

    def __init__(self, script: str, state: Mapping[str, Any], hear: Hear) -> None:
        """Bring the script into every page that shows the notebook.

        Raises:
            ImportError: anywidget is not installed.
        """
        self._widget = _class(script)(state=dict(state))
        self._widget.on_msg(lambda _widget, content, _buffers: hear(content))
        # ipykernel 7.4 sends clicks to the thread that sent the comm's last message, which a running cell keeps busy;
        # where the page asks for one, they come in a thread of their own.
        self._widget.comm._reply_subshell_for = lambda _data, asked: asked

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message to the script."""
        self._widget.send(dict(message))

    def close(self) -> None:
        """End the script's part in the kernel."""
        self._widget.close()


@functools.cache
def _class(script: str) -> Any:
    import anywidget
    import traitlets

    class Script(anywidget.AnyWidget):
        _esm = assets.read(script)
        state = traitlets.Dict().tag(sync=True)

    return Script
