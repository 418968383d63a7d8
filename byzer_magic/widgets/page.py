"""A script in the page that shows the notebook, and messages to it and back.

The script belongs to a widget that is never displayed. So a saved notebook has plain HTML only, and without its kernel
no front end reports a missing widget; the script finds its place in that HTML by an attribute.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from byzer_magic.errors import MissingExtra
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.rendering import assets
from byzer_magic.widgets.bundle import bundle

Message = Mapping[str, Any]
"""A message in either direction: `type`, `id`, and its own fields. The page numbers its messages from 1; a reply has
the `id` of the message that it replies to, and what the kernel sends on its own has 0."""
Receive = Callable[[Message, Sequence[bytes]], None]
"""Takes a message of the page and the bytes that came with it. It must return at once, and may be called from any
thread: while a cell runs, messages come in a thread of their own."""


class Page:
    """The kernel's end of a script.

    `script` is a module of `static/` whose default export has `initialize({model})`: there `model.get("state")` is what
    the script begins with, `new Mount(model, root, on)` (`mount.js`) puts `root` into the cell, and a `Channel`
    (`kit.js`) has the messages. They go through while a cell runs, whatever thread sends them.
    """

    def __init__(self, script: str, state: Mapping[str, Any], receive: Receive) -> None:
        """Bring the script into every page that shows the notebook.

        Raises:
            MissingExtra: anywidget is not installed.
        """
        self.id = f"bz{uuid.uuid4().hex[:12]}"
        try:
            self._widget = _class(script)(state={**state, "mount": self.id})
        except ImportError as err:
            raise MissingExtra(
                _("Screens need the package anywidget, which is not installed."),
                _("Run: pip install 'byzer-magic[notebook]'"),
            ) from err
        self._widget.on_msg(lambda _widget, content, buffers: receive(content, [bytes(part) for part in buffers]))
        # ipykernel 7.4 sends clicks to the thread that sent the comm's last message, which a running cell keeps busy.
        self._widget.comm._reply_subshell_for = lambda _data, asked: asked

    def mount(self, styles: Sequence[str], plain: str, inside: str = "") -> dict[str, str]:
        """Return the output that the script renders into, with these files of `static/`.

        `inside` is HTML that is shown until the script is there.
        """
        css = "".join(map(assets.read, ("page.css", *styles)))
        place = f'<div data-bz-mount="{self.id}">{inside}</div>'
        return {"text/html": f"<style>{css}</style>{place}", "text/plain": plain}

    def send(self, kind: str, /, *, reply_to: int = 0, **fields: Any) -> None:
        """Send a message of a type to the script; `reply_to` is the `id` of the message that it replies to."""
        self._widget.send(envelope(kind, reply_to, fields))

    def close(self) -> None:
        """End the script's part in the kernel."""
        self._widget.close()


def envelope(kind: str, reply_to: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as it is sent."""
    return {**fields, "type": kind, "id": reply_to}


@functools.cache
def _class(script: str) -> Any:
    import anywidget
    import traitlets

    class Script(anywidget.AnyWidget):
        _esm = bundle(script)
        state = traitlets.Dict().tag(sync=True)

    return Script
