"""A recorder in a cell: the page records, the kernel gets the sound in pieces."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from byzer_magic.errors import MissingExtra
from byzer_magic.widgets import assets

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


def mount(place: str, texts: Mapping[str, str]) -> dict[str, str]:
    """Return the place in a cell where the page draws the recorder; a saved notebook has its sentence only."""
    plain = html.escape(texts["plain"])
    style = f"<style>{assets.read('recorder.css')}</style>"
    return {
        "text/html": f'{style}<div data-bz-recorder="{html.escape(place)}"><p>{plain}</p></div>',
        "text/plain": texts["plain"],
    }


def widget(
    place: str, texts: Mapping[str, str], on_sound: Callable[[bytes, str], None], on_cancel: Callable[[], None]
) -> Any:
    """Return what talks with the page: a widget that is never shown, so that no reopened notebook misses it.

    `on_sound` gets what was recorded and, of a chosen file, its name. Both calls must return at once.

    Raises:
        MissingExtra: anywidget is not installed.
    """
    try:
        made = _class()(place=place, words=dict(texts))
    except ImportError as err:
        raise MissingExtra(
            "Recording needs the package anywidget.", "Run: pip install 'byzer-magic[notebook]'; or give a file."
        ) from err
    pieces = Pieces()

    def take(_: Any, content: Mapping[str, Any], buffers: Sequence[Any]) -> None:
        if content.get("kind") == "cancel":
            on_cancel()
        elif content.get("kind") == "piece" and buffers:
            whole = pieces.add(int(content["at"]), int(content["of"]), bytes(buffers[0]))
            if whole is not None:
                on_sound(whole, str(content.get("name", "")))

    made.on_msg(take)
    # As in panel.py: the page's messages come in a thread of their own where a running cell keeps the main one busy.
    made.comm._reply_subshell_for = lambda _data, asked: asked
    return made


@functools.cache
def _class() -> Any:
    import anywidget
    import traitlets

    class Recorder(anywidget.AnyWidget):
        """The script of the recorder; no sound is ever part of its state."""

        _esm = assets.read("recorder.js")
        place = traitlets.Unicode().tag(sync=True)
        words = traitlets.Dict().tag(sync=True)

    return Recorder
