"""A recorder in a cell: the page records, and sends the audio in pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from byzer_magic.i18n import gettext as _
from byzer_magic.rendering.markup import tag
from byzer_magic.widgets.page import Message, Page

LARGEST_BYTES = 512 * 1024 * 1024
"""A larger recording is rejected."""


@dataclass
class Pieces:
    """Data that arrives piece by piece, in order."""

    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, at: int, of: int, data: bytes) -> bytes | None:
        """Take the next piece; return the complete data with the last. A piece out of order starts again."""
        if at == 0:
            self.parts, self.size = [], 0
        if at != len(self.parts) or self.size + len(data) > LARGEST_BYTES:
            self.parts, self.size = [], 0
            return None
        self.parts.append(data)
        self.size += len(data)
        if at + 1 < of:
            return None
        complete = b"".join(self.parts)
        self.parts, self.size = [], 0
        return complete


def script_texts(alias: str) -> dict[str, str]:
    """Return the texts of the script by key, in the active language."""
    return {
        "title": _("Record for {alias}", alias=alias),
        "record": _("Record"),
        "again": _("Record again"),
        "stop": _("Stop"),
        "send": _("Send"),
        "discard": _("Discard"),
        "cancel": _("Cancel"),
        "choose": _("or choose an audio file"),
        "level": _("Level"),
        "ready": _("Ready."),
        "recording": _("Recording"),
        "recorded": _("Recorded. Play it back, then send it."),
        "sending": _("Sent; the answer appears below."),
        "cannot": _(
            "This page cannot record: browsers allow it on https and localhost only. Choose an audio file instead."
        ),
        "denied": _("The microphone cannot be used ({why}). Allow it for this page, or choose an audio file."),
        "empty": _("Nothing was recorded. Try again."),
    }


def open_page(alias: str, on_audio: Callable[[bytes, str], None], on_cancel: Callable[[], None]) -> Page:
    """Open the connection to the page; no audio is ever part of its state.

    Args:
        alias: the model that gets the recording.
        on_audio: gets the audio and, of a chosen file, its name; must return at once.
        on_cancel: called when the user cancels; must return at once.

    Raises:
        MissingExtra: anywidget is not installed.
    """
    pieces = Pieces()

    def on_message(message: Message, buffers: Sequence[bytes]) -> None:
        if message.get("type") in ("cancel", "close"):
            on_cancel()
        elif message.get("type") == "piece" and buffers:
            complete = pieces.add(int(message["at"]), int(message["of"]), buffers[0])
            if complete is not None:
                on_audio(complete, str(message.get("name", "")))

    return Page("recorder.js", {"words": script_texts(alias)}, on_message)


def mount(page: Page, alias: str) -> dict[str, str]:
    """Return the place in a cell where the page shows the recorder; a saved notebook has one sentence instead."""
    text = _("A recorder for {alias}; run this cell to use it.", alias=alias)
    return page.mount(("recorder.css",), text, tag("p", text, class_="bz-still"))
