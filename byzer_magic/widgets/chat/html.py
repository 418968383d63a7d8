"""A conversation as HTML and text: pure functions of its turns."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from byzer_magic.client.collect import AnyCollector, ChatCollector
from byzer_magic.errors import ByzerError
from byzer_magic.i18n import gettext as _, localized
from byzer_magic.rendering import assets, progress, results, snapshot
from byzer_magic.rendering.answer import view as answer_view
from byzer_magic.rendering.answer.view import Shown, View
from byzer_magic.rendering.media import base as media
from byzer_magic.results import ChatResult, Result
from byzer_magic.types import Media, Message
from byzer_magic.widgets.chat import turns as chat_turns
from byzer_magic.widgets.chat.turns import Turn

LONG_TEXT = 800
LONG_LINES = 8
"""A prompt that is longer is shown in a box of its own that scrolls, by the keyboard too."""


def prompt_html(prompt: Message) -> str:
    """Return what somebody asked: the text as it was typed, and what was attached."""
    text = chat_turns.text_of(prompt)
    scrolls = ' tabindex="0"' if len(text) > LONG_TEXT or text.count("\n") > LONG_LINES else ""
    said = f"<p{scrolls}>{html.escape(text)}</p>" if text else ""
    return "".join(map(_attached, chat_turns.media_of(prompt))) + said


def _attached(item: Media) -> str:
    name = item.name or item.mime
    if not item.data:
        return f'<span class="bz-chip">{html.escape(item.url or name)}</span>'
    source = media.data_url(item.data, item.mime)
    if item.is_image:
        return media.tag("img", src=source, alt=name)
    return media.tag("audio", src=source, controls="", preload="metadata", aria_label=name)


def so_far(collector: AnyCollector) -> Shown:
    """Return what is to be seen of an answer that is still coming."""
    if isinstance(collector, ChatCollector):
        return Shown(text=collector.text, reasoning=collector.reasoning, done=False)
    return Shown(footer=f"{progress.of(collector).stage} · {collector.seconds:.0f} s", done=False)


def of_turn(turn: Turn) -> Shown:
    """Return what is to be seen of an answer that has come."""
    result = turn.result
    if result is None:
        return Shown(text=turn.text)
    footer = snapshot.footer(result)
    if not isinstance(result, ChatResult):
        return Shown(media=_made(result), footer=footer)
    empty = not (result.text or result.reasoning or result.tool_calls or turn.error or result.interrupted)
    note = " · ".join([_("The model returned an empty answer"), footer]) if empty else footer
    return Shown(text=result.text, reasoning=result.reasoning, tool_calls=result.tool_calls or (), footer=note)


def _made(result: Result) -> str:
    """Return a sound, pictures, a transcript, or whatever else a model makes."""
    bundle = results.bundle(result)
    return bundle.get("text/html") or f"<pre>{html.escape(bundle['text/plain'])}</pre>"


def error_html(error: ByzerError) -> str:
    """Return what went wrong, and what to do."""
    hint = f"<p>{html.escape(localized(error.hint))}</p>" if error.hint else ""
    return f'<div class="bz-chat-error"><p>{html.escape(localized(error.message))}</p>{hint}</div>'


def blocks(turn: Turn, view: View, shown: Shown) -> list[str]:
    """Return the blocks of a turn's answer; an error is the last one."""
    found = view.blocks(shown)
    return [*found, error_html(turn.error)] if turn.error else found


def entry(turn: Turn) -> dict[str, Any]:
    """Return a turn as the page draws it."""
    if turn.drawn is not None:
        return turn.drawn
    view = View(key=f"t{turn.number}")
    drawn = {
        "id": turn.number,
        "text": chat_turns.text_of(turn.prompt),
        "prompt": prompt_html(turn.prompt),
        "alias": turn.alias,
        "running": turn.running,
        "answer": turn.text,
        "blocks": turn.part if turn.running else blocks(turn, view, of_turn(turn)),
    }
    turn.drawn = None if turn.running else drawn
    return drawn


def transcript(turns: Sequence[Turn], system: str, alias: str) -> dict[str, str]:
    """Return the conversation as it can be read without a kernel.

    A page in which the window lives hides it.
    """
    parts = [_said(_("System prompt"), f"<p>{html.escape(system)}</p>", "")] if system else []
    for turn in turns:
        drawn = entry(turn)
        parts.append(_said(_("You"), drawn["prompt"], " bz-chat-you"))
        parts.append(_said(turn.alias or alias, "".join(drawn["blocks"]), ""))
    nothing = html.escape(_("No messages yet."))
    empty = "" if parts else f"<p>{nothing}</p>"
    title = html.escape(_("Chat with {alias}", alias=alias))
    styles = "".join(map(assets.read, ("answer.css", "footer.css", "transcript.css")))
    return {
        "text/html": (
            f'<style>{styles}</style><section class="bz-still bz-chat-kept mathjax_ignore tex2jax_ignore" '
            f'aria-label="{title}"><p class="bz-footer">{title}</p>{"".join(parts)}{empty}</section>'
        ),
        "text/plain": plain(turns, system, alias),
    }


def _said(who: str, body: str, kind: str) -> str:
    return f'<div class="bz-answer{kind}"><strong>{html.escape(who)}</strong>{body}</div>'


def plain(turns: Sequence[Turn], system: str, alias: str) -> str:
    """Return the conversation as text."""
    lines = [_("Chat with {alias}", alias=alias)]
    lines += [_("System prompt: {text}", text=system)] if system else []
    for turn in turns:
        media_types = "".join(f"[{item.mime}] " for item in chat_turns.media_of(turn.prompt))
        lines.append(_("You: {text}", text=f"{media_types}{chat_turns.text_of(turn.prompt)}"))
        has_calls = isinstance(turn.result, ChatResult)
        calls = answer_view.plain(of_turn(turn)) if has_calls else turn.text
        failure = turn.error.localized() if turn.error else ""
        lines.append("\n".join(filter(None, [f"{turn.alias or alias}: {calls}", failure])))
    return "\n\n".join(lines) if turns else ": ".join([lines[0], _("No messages yet.")])
