"""A sound in a cell: player, waveform, length, download, and the words that are spoken."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from byzer_magic.i18n import gettext as _
from byzer_magic.media import wav
from byzer_magic.rendering.markup import tag
from byzer_magic.rendering.media import base as media
from byzer_magic.types import Media

BARS = 160
"""Strokes of a waveform."""
LOOKED_AT = 2_000_000
"""Samples that a waveform looks at; of longer sounds every second, third, ... one."""


@dataclass(frozen=True, kw_only=True)
class AudioView:
    """What there is to show."""

    data: bytes
    mime: str
    name: str
    """Of the file, when somebody downloads it."""
    label: str = ""
    """For whoever cannot see the player."""
    said: str = ""
    """The words that are spoken, shown beside it."""
    facts: tuple[str, ...] = ()
    """More for its caption: the model, the voice, ..."""
    path: str = ""
    """Where it lies already, if anywhere."""


def peaks(sound: wav.Wave, count: int = BARS) -> list[float]:
    """Return how loud each of `count` stretches is, 0..1; the loudest of all is 1, unless there is silence only."""
    total = len(sound.samples)
    step = max(1, total // LOOKED_AT) | 1  # odd, so that it meets the samples of both channels
    found = []
    for number in range(min(count, total)):
        part = sound.samples[number * total // count : max((number + 1) * total // count, 1) : step]
        loudest = max(max(part, default=0), -min(part, default=0)) / sound.full
        found.append(min(loudest, 1.0) if math.isfinite(loudest) else 0.0)
    top = max(found, default=0.0)
    return [value / top for value in found] if top > 0 else found


def figure(sound: AudioView, keep: media.Keep = media.kept) -> tuple[Markup, str]:
    """Return a sound as HTML, and the line of text that stands for it."""
    data, mime = wav.playable(sound.data, sound.mime)
    found = wav.read(data)
    facts = [*sound.facts, mime, *([media.clock(found.seconds)] if found else []), media.size(len(sound.data))]
    source, link = media.data_url(data, mime), ""
    if len(data) > media.EMBED_BYTES:
        path = sound.path or keep(data, sound.name)
        facts.append(_("too large to embed; the file is {path}", path=path) if sound.path else media.too_large(path))
        source = link = media.linkable(path)
    shown = _player(source, sound) if source else ""
    saver = media.download(sound.name, link) if source else ""
    body = [
        _strokes(found) if found and source else "",
        shown,
        tag("p", sound.said, class_="bz-said") if sound.said else "",
        tag("figcaption", Markup(" · ").join(filter(None, [" · ".join(facts), saver])), class_="bz-quiet"),
    ]
    return tag("figure", *body, class_="bz-sound"), " · ".join(facts)


def recording(heard: Media, text: str) -> AudioView:
    """Return a sound that somebody gave, under its own name if it has one."""
    name = Path(heard.name).name or media.file_name("recording", text, heard.mime)
    return AudioView(data=heard.data, mime=heard.mime, name=name, label=name, path=heard.name)


def bundle(sound: AudioView, text: str, *, keep: media.Keep = media.kept) -> dict[str, str]:
    """Return a sound as Jupyter shows it; of nothing, the text alone."""
    if not sound.data:
        return {"text/plain": text}
    shown, line = figure(sound, keep)
    return {"text/html": str(media.output(shown)), "text/plain": line}


def _player(source: str, sound: AudioView) -> Markup:
    label = _("Audio: {name}", name=sound.label or sound.said or sound.name)
    return tag("audio", controls="", preload="metadata", src=source, aria_label=label)


def _strokes(found: wav.Wave) -> Markup:
    """Return the waveform, on which a click plays from there."""
    path = "".join(
        f"M{2 * number + 1} {20 - max(0.3, 18 * value):.1f}v{2 * max(0.3, 18 * value):.1f}"
        for number, value in enumerate(peaks(found))
    )
    label = _("Waveform, {length}: click to play from there", length=media.clock(found.seconds))
    line = tag("path", d=path)
    picture = tag("svg", line, viewBox=f"0 0 {2 * BARS} 40", preserveAspectRatio="none", role="img",
                        aria_label=label)  # fmt: skip
    return tag("div", picture, tag("i"), class_="bz-wave", data_seconds=f"{found.seconds:.3f}")
