"""A conversation as HTML and text: pure functions of its turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from byzer_magic.client.collect import AnyCollector, ChatCollector
from byzer_magic.errors import ByzerError
from byzer_magic.i18n import gettext as _, localized
from byzer_magic.rendering import footer, progress, results
from byzer_magic.rendering.answer import view as answer_view
from byzer_magic.rendering.answer.view import Shown, View
from byzer_magic.rendering.markup import join, style, tag
from byzer_magic.rendering.media import base as media
from byzer_magic.results import ChatResult, Result, turns as session_turns
from byzer_magic.types import Media, Message
from byzer_magic.widgets.chat import turns as chat_turns
from byzer_magic.widgets.chat.turns import Turn

LONG_TEXT = 800
LONG_LINES = 8
"""Lines; a longer prompt is shown in a box that scrolls, also by keyboard."""


def prompt_html(prompt: Message) -> Markup:
    """Return a prompt: the text as it was typed, and what was attached."""
    text = chat_turns.text_of(prompt)
    scrolls = 0 if len(text) > LONG_TEXT or text.count("\n") > LONG_LINES else None
    shown = tag("p", text, tabindex=scrolls) if text else ""
    return join([*map(_attached, chat_turns.media_of(prompt)), shown])


def _attached(item: Media) -> Markup:
    name = item.name or item.mime
    if not item.data:
        return tag("span", item.url or name, class_="bz-chip")
    source = media.data_url(item.data, item.mime)
    if item.is_image:
        return tag("img", src=source, alt=name)
    return tag("audio", src=source, controls="", preload="metadata", aria_label=name)


def partial(collector: AnyCollector) -> Shown:
    """Return the answer so far, while it streams."""
    if isinstance(collector, ChatCollector) and collector.waiting is None:
        return Shown(text=collector.text, reasoning=collector.reasoning, done=False)
    return Shown(footer=f"{progress.of(collector).stage} · {collector.seconds:.0f} s", done=False)


def of_turn(turn: Turn) -> Shown:
    """Return a complete answer."""
    result = turn.result
    if result is None:
        return Shown(text=turn.text)
    line = footer.line(result)
    if not isinstance(result, ChatResult):
        return Shown(media=_made(result), footer=line)
    empty = not (result.text or result.reasoning or result.tool_calls or turn.error or result.interrupted)
    notes = [_("The model returned an empty answer") if empty else "", line, session_turns.why_not(result)]
    note = " · ".join(filter(None, notes))
    return Shown(text=result.text, reasoning=result.reasoning, tool_calls=result.tool_calls or (), footer=note)


def _made(result: Result) -> Markup:
    """Return audio, images, a transcript, or what else is not text."""
    bundle = results.bundle(result)
    if "text/html" in bundle:
        return Markup(bundle["text/html"])  # noqa: S704 - rendered by this package
    return tag("pre", bundle["text/plain"])


def error_html(error: ByzerError) -> Markup:
    """Return an error's message and its hint."""
    hint = tag("p", localized(error.hint)) if error.hint else ""
    return tag("div", tag("p", localized(error.message)), hint, class_="bz-chat-error")


def blocks(turn: Turn, view: View, shown: Shown) -> list[Markup]:
    """Return the blocks of a turn's answer; an error is the last one."""
    found = view.blocks(shown)
    return [*found, error_html(turn.error)] if turn.error else found


def entry(turn: Turn) -> dict[str, Any]:
    """Return a turn as the page renders it."""
    if turn.entry is not None:
        return turn.entry
    view = View(key=f"t{turn.number}")
    shown = {
        "id": turn.number,
        "text": chat_turns.text_of(turn.prompt),
        "prompt": prompt_html(turn.prompt),
        "alias": turn.alias,
        "running": turn.running,
        "answer": turn.text,
        "blocks": turn.part if turn.running else blocks(turn, view, of_turn(turn)),
    }
    turn.entry = None if turn.running else shown
    return shown


def transcript(turns: Sequence[Turn], system: str, alias: str) -> dict[str, str]:
    """Return the conversation as a MIME bundle that reads without a kernel.

    The live window hides it.
    """
    parts = [_turn(_("System prompt"), tag("p", system))] if system else []
    for turn in turns:
        shown = entry(turn)
        parts.append(_turn(_("You"), shown["prompt"], " bz-chat-you"))
        parts.append(_turn(turn.alias or alias, join(shown["blocks"])))
    title = _("Chat with {alias}", alias=alias)
    body = parts or [tag("p", _("No messages yet."))]
    kind = "bz-still bz-chat-kept mathjax_ignore tex2jax_ignore"
    section = tag("section", tag("p", title, class_="bz-footer"), *body, class_=kind, aria_label=title)
    return {
        "text/html": str(style("answer.css", "footer.css", "transcript.css") + section),
        "text/plain": plain(turns, system, alias),
    }


def _turn(who: str, body: Markup, kind: str = "") -> Markup:
    return tag("div", tag("strong", who), body, class_=f"bz-answer{kind}")


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
        lines.append("\n".join(filter(None, [_("{label}: {text}", label=turn.alias or alias, text=calls), failure])))
    return "\n\n".join(lines) if turns else _("{label}: {text}", label=lines[0], text=_("No messages yet."))
