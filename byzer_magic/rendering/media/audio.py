"""Audio in a cell: player, waveform, length, download, and its transcript."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from byzer_magic.i18n import gettext as _
from byzer_magic.media import describe, wav
from byzer_magic.rendering.markup import tag
from byzer_magic.rendering.media import base as media
from byzer_magic.types import Media

BARS = 160
"""Bars of a waveform."""
MAX_SAMPLES = 2_000_000
"""Samples that a waveform is computed from, at most; longer audio is sampled at regular intervals."""


@dataclass(frozen=True, kw_only=True)
class AudioView:
    """Audio with its captions."""

    data: bytes
    mime: str
    name: str
    """Name of the downloaded file."""
    label: str = ""
    """The player's label for screen readers."""
    transcript: str = ""
    """The spoken text, shown beside the player."""
    facts: tuple[str, ...] = ()
    """More for its caption: the model, the voice, ..."""
    path: str = ""
    """The file that it is stored in already, if any."""


def peaks(wave: wav.Wave, count: int = BARS) -> list[float]:
    """Return the peak of each of `count` segments, 0..1; the loudest is 1, unless all is silence."""
    total = len(wave.samples)
    step = max(1, total // MAX_SAMPLES) | 1  # odd, so that it meets the samples of both channels
    found = []
    for number in range(min(count, total)):
        part = wave.samples[number * total // count : max((number + 1) * total // count, 1) : step]
        loudest = max(max(part, default=0), -min(part, default=0)) / wave.full
        found.append(min(loudest, 1.0) if math.isfinite(loudest) else 0.0)
    top = max(found, default=0.0)
    return [value / top for value in found] if top > 0 else found


def figure(audio: AudioView, keep: media.Keep = media.kept) -> tuple[Markup, str]:
    """Return audio as HTML, and its alternative text.

    Args:
        audio: what to show.
        keep: stores audio that is too large to embed.
    """
    data, mime = wav.playable(audio.data, audio.mime)
    found = wav.read(data)
    facts = [*audio.facts, mime, *([describe.clock(found.seconds)] if found else []), describe.size(len(audio.data))]
    source, link = media.data_url(data, mime), ""
    if len(data) > media.EMBED_BYTES:
        path = audio.path or keep(data, audio.name)
        facts.append(_("too large to embed; the file is {path}", path=path) if audio.path else media.too_large(path))
        source = link = media.linkable(path)
    shown = _player(source, audio) if source else ""
    saver = media.download(audio.name, link) if source else ""
    body = [
        _strokes(found) if found and source else "",
        shown,
        tag("p", audio.transcript, class_="bz-caption") if audio.transcript else "",
        tag("figcaption", Markup(" · ").join(filter(None, [" · ".join(facts), saver])), class_="bz-quiet"),
    ]
    return tag("figure", *body, class_="bz-audio"), " · ".join(facts)


def recording(audio: Media, text: str) -> AudioView:
    """Return audio from the user, under its own name if it has one."""
    own = describe.fitting_name(Path(audio.name).name, audio.mime)
    name = own or describe.file_name("recording", text, audio.mime)
    return AudioView(data=audio.data, mime=audio.mime, name=name, label=name, path=audio.name)


def bundle(audio: AudioView, text: str, *, keep: media.Keep = media.kept) -> dict[str, str]:
    """Return audio as a MIME bundle.

    Args:
        audio: what to show.
        text: the plain text where there is no audio.
        keep: stores audio that is too large to embed.
    """
    if not audio.data:
        return {"text/plain": text}
    shown, line = figure(audio, keep)
    return {"text/html": str(media.output(shown)), "text/plain": line}


def _player(source: str, audio: AudioView) -> Markup:
    label = _("Audio: {name}", name=audio.label or audio.transcript or audio.name)
    return tag("audio", controls="", preload="metadata", src=source, aria_label=label)


def _strokes(found: wav.Wave) -> Markup:
    """Return the waveform, on which a click plays from there."""
    path = "".join(
        f"M{2 * number + 1} {20 - max(0.3, 18 * value):.1f}v{2 * max(0.3, 18 * value):.1f}"
        for number, value in enumerate(peaks(found))
    )
    label = _("Waveform, {length}: click to play from there", length=describe.clock(found.seconds))
    line = tag("path", d=path)
    waveform = tag("svg", line, viewBox=f"0 0 {2 * BARS} 40", preserveAspectRatio="none", role="img",
                        aria_label=label)  # fmt: skip
    return tag("div", waveform, tag("i"), class_="bz-wave", data_seconds=f"{found.seconds:.3f}")
