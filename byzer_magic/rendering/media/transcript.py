"""A transcript in a cell: its lines with their times, which seek in the audio."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from byzer_magic.i18n import gettext as _
from byzer_magic.media import describe
from byzer_magic.rendering.markup import tag
from byzer_magic.rendering.media import audio as audio_view, base as media
from byzer_magic.types import Segment


def section(
    text: str, segments: Sequence[Segment] | None, facts: Sequence[str], audio: audio_view.AudioView | None,
    *, silent: bool = False,
) -> tuple[Markup, str]:  # fmt: skip
    """Return a transcript as HTML with its player, and as text.

    Args:
        text: the complete text.
        segments: its parts with their times in seconds, where the model returns them.
        facts: more for the caption: model, language, duration.
        audio: what was transcribed, where its bytes are here.
        silent: whether it is silence.
    """
    player, about = Markup(), " · ".join(facts)
    if audio is not None:
        player, line = audio_view.figure(audio)
        about = " · ".join(filter(None, [about, line]))
    playing = "<audio" in player
    lines = [_line(item, playing=playing) for item in segments or []]
    words = text.strip() or no_speech(silent=silent)
    reach = None if playing else 0  # what scrolls must be reachable by keyboard
    body = tag("ol", *lines, class_="bz-lines", tabindex=reach) if lines else tag("p", words, class_="bz-caption")
    facts_line = tag("p", " · ".join(facts), class_="bz-quiet") if facts else ""
    shown = tag("section", player, body, facts_line, class_="bz-transcript", aria_label=_("Transcript"))
    return shown, f"{plain(words, segments)}\n\n{about}" if about else plain(words, segments)


def bundle(
    text: str, segments: Sequence[Segment] | None, facts: Sequence[str], audio: audio_view.AudioView | None,
    *, silent: bool = False,
) -> dict[str, str]:  # fmt: skip
    """Return a transcript as a MIME bundle; without segments and audio an empty text stays plain."""
    if not text and not segments and audio is None:
        return {"text/plain": text}
    shown, line = section(text, segments, facts, audio, silent=silent)
    return {"text/html": str(media.output(shown)), "text/plain": line}


def no_speech(*, silent: bool) -> str:
    """Return what stands in place of an empty transcript.

    Example:
        >>> no_speech(silent=True)
        '(no speech: the audio is silent)'
    """
    return _("(no speech: the audio is silent)") if silent else _("(no speech)")


def plain(text: str, segments: Sequence[Segment] | None) -> str:
    """Return the text, with times where there are several segments."""
    if not segments or len(segments) < 2:
        return text
    return "\n".join(f"[{describe.clock(item.start)}] {item.text.strip()}" for item in segments)


def _line(item: Segment, *, playing: bool) -> Markup:
    time = describe.clock(item.start)
    shown = tag("time", time)
    if playing:
        label = _("Play from {time}", time=time)
        shown = tag(
            "button", time, type="button", class_="bz-link", data_bz_seek=f"{item.start:.2f}", aria_label=label
        )  # fmt: skip
    return tag("li", shown, tag("span", item.text.strip()))
