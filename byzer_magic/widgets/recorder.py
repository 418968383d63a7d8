"""A recorder in a cell: the page records, the kernel gets the sound in pieces."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from byzer_magic.rendering import assets
from byzer_magic.widgets.page import Message, Page

LARGEST_BYTES = 512 * 1024 * 1024
"""More is taken for a mistake."""


@dataclass
class Pieces:
    """A sound that comes piece by piece, in order."""

    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, at: int, of: int, data: bytes) -> bytes | None:
        """Take the next piece; return the whole with the last. A piece out of order begins anew."""
        if at == 0:
            self.parts, self.size = [], 0
        if at != len(self.parts) or self.size + len(data) > LARGEST_BYTES:
            self.parts, self.size = [], 0
            return None
        self.parts.append(data)
        self.size += len(data)
        if at + 1 < of:
            return None
        whole = b"".join(self.parts)
        self.parts, self.size = [], 0
        return whole


def words(alias: str, *, chinese: bool) -> Mapping[str, str]:
    """Return what people read on it."""
    texts = assets.texts("recorder", chinese=chinese)
    filled = {name: texts[name].format(alias=alias) for name in ("plain", "title")}
    return {**texts, **filled}


def open_page(texts: Mapping[str, str], on_sound: Callable[[bytes, str], None], on_cancel: Callable[[], None]) -> Page:
    """Return what talks with the page; no sound is ever part of its state.

    `on_sound` gets what was recorded and, of a chosen file, its name. Both calls must return at once.

    Raises:
        MissingExtra: anywidget is not installed.
    """
    pieces = Pieces()

    def hear(message: Message, buffers: Sequence[bytes]) -> None:
        if message.get("kind") == "cancel":
            on_cancel()
        elif message.get("kind") == "piece" and buffers:
            whole = pieces.add(int(message["at"]), int(message["of"]), buffers[0])
            if whole is not None:
                on_sound(whole, str(message.get("name", "")))

    return Page("recorder.js", {"words": dict(texts)}, hear)


def mount(page: Page, texts: Mapping[str, str]) -> dict[str, str]:
    """Return the place in a cell where the page draws the recorder; a saved notebook has its sentence only."""
    return page.mount(("recorder.css",), texts["plain"], f'<p class="bz-still">{html.escape(texts["plain"])}</p>')
