"""A script in the page that shows the notebook, and messages to it and back.

The script belongs to a widget that is never shown. So a saved notebook has plain HTML only, and whoever opens it
without its kernel is not told that a widget is missing; the script finds its place in that HTML by an attribute.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from byzer_magic.errors import MissingExtra
from byzer_magic.rendering import assets

Message = Mapping[str, Any]
Hear = Callable[[Message, Sequence[bytes]], None]
"""Takes a message of the page and the bytes that came with it. It must return at once, and may be called from any
thread: where a running cell keeps the main one busy, messages come in one of their own."""


class Page:
    """The kernel's end of a script.

    `script` is a file of `static/` whose default export has `initialize({model})`: there `model.get("state")` is what
    the script begins with, `new Mount(model, root, on)` (`mount.js`) draws `root` in the cell, and
    `model.on("msg:custom", ...)` and `model.send(...)` are the messages. They go through while a cell runs, whatever
    thread sends them.
    """

    def __init__(self, script: str, state: Mapping[str, Any], hear: Hear) -> None:
        """Bring the script into every page that shows the notebook.

        Raises:
            MissingExtra: anywidget is not installed.
        """
        self.id = f"bz{uuid.uuid4().hex[:12]}"
        try:
            self._widget = _class(script)(state={**state, "mount": self.id})
        except ImportError as err:
            raise MissingExtra("This needs the package anywidget.", "Run: pip install 'byzer-magic[notebook]'") from err
        self._widget.on_msg(lambda _widget, content, buffers: hear(content, [bytes(part) for part in buffers]))
        # ipykernel 7.4 sends clicks to the thread that sent the comm's last message, which a running cell keeps busy.
        self._widget.comm._reply_subshell_for = lambda _data, asked: asked

    def mount(self, styles: Sequence[str], plain: str, inside: str = "") -> dict[str, str]:
        """Return the output that the script draws into, with these files of `static/`.

        `inside` is HTML that stands there as long as the script does not.
        """
        css = "".join(map(assets.read, ("page.css", *styles)))
        place = f'<div data-bz-mount="{self.id}">{inside}</div>'
        return {"text/html": f"<style>{css}</style>{place}", "text/plain": plain}

    def send(self, message: Message) -> None:
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
        _esm = assets.read("mount.js") + assets.read(script)
        state = traitlets.Dict().tag(sync=True)

    return Script
