"""One answer as Jupyter shows it, complete or partial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from byzer_magic.i18n import gettext as _
from byzer_magic.rendering.answer import code, markdown, safe
from byzer_magic.rendering.markup import join, style, tag

KEEP_FOLDS = Markup(
    "{const b=document.currentScript.parentNode,m=window.bzFolds??={};b.querySelectorAll('details').forEach(d=>{"
    "const k=b.dataset.key+d.dataset.fold;if(k in m)d.open=m[k];d.addEventListener('toggle',()=>{m[k]=d.open});"
    "d.firstElementChild.addEventListener('click',()=>{m[k]=!d.open})})}"
)
"""An update replaces the output; what the reader has unfolded stays unfolded.

A click counts at once: `toggle` comes later, when an update may have replaced the element.
"""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """All parts of an answer that are shown."""

    text: str = ""
    reasoning: str = ""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    media: Markup = field(default_factory=Markup)
    """Audio and images as HTML."""
    footer: str = ""
    done: bool = True


class View:
    """Renders a growing answer repeatedly; settled blocks are rendered once.

    The output is always the same as that of a new view.
    """

    def __init__(self, style: str = "markdown", *, key: str = "") -> None:
        self._style = style
        self._key = key
        self._text = markdown.Stream()
        self._reasoning = markdown.Stream()

    def blocks(self, shown: Shown) -> list[Markup]:
        """Return the HTML of each block of the answer; the first ones rarely change."""
        text = markdown.formatted(shown.text, self._style) if self._style != "markdown" else shown.text
        first = [self.thoughts(shown)] if shown.reasoning else []
        calls = [self._call(number, call) for number, call in enumerate(shown.tool_calls)]
        media = [tag("div", shown.media, class_="bz-attached")] if shown.media else []
        footer = [tag("div", shown.footer, class_="bz-footer")] if shown.footer else []
        return [*first, *self._text.blocks(text), *calls, *media, *footer]

    def thoughts(self, shown: Shown) -> Markup:
        """Return the reasoning, folded."""
        body = join(self._reasoning.blocks(shown.reasoning))
        thinking = not shown.done and not shown.text
        return _fold("reasoning", _("Thinking …") if thinking else _("Reasoning"), body)

    def html(self, shown: Shown) -> Markup:
        """Return it with its style, for its own cell."""
        return style("answer.css", "footer.css") + self.inner(shown)

    def inner(self, shown: Shown) -> Markup:
        """Return it without its style, for an output of several answers."""
        body = join(self.blocks(shown))
        folds = tag("script", KEEP_FOLDS) if "<details" in body else ""
        # MathJax, which looks for dollars in every output, skips outputs of these classes
        return tag("div", body, folds, class_="bz-answer mathjax_ignore tex2jax_ignore", data_key=self._key)

    def _call(self, number: int, call: Mapping[str, Any]) -> Markup:
        function = call.get("function") or {}
        arguments = str(function.get("arguments") or "")
        title = join([_("Tool call"), " ", tag("code", str(function.get("name") or "?"))])
        return _fold(f"tool{number}", title, code.block(markdown.pretty_json(arguments), "json"))


def _fold(name: str, title: str, body: Markup) -> Markup:
    return tag("details", tag("summary", title), tag("div", body), class_="bz-fold", data_fold=name)


def bundle(shown: Shown, style: str = "markdown", *, key: str = "", view: View | None = None) -> dict[str, str]:
    """Return a complete answer as a MIME bundle, in one of `--format`'s styles; `key` tells folds of answers apart.

    A `view` that has rendered it while it arrived has less to do.

    Jupyter and nbconvert's HTML take the first kind, PDF and LaTeX the second, terminals and diffs the third.
    """
    return {
        "text/html": str((view or View(style, key=key)).html(shown)),
        "text/markdown": as_markdown(shown, style),
        "text/plain": plain(shown),
    }


def as_markdown(shown: Shown, style: str = "markdown") -> str:
    """Return it as Markdown in which the model's text has no HTML."""
    parts = [
        safe.folded("reasoning", shown.reasoning) if shown.reasoning else "",
        markdown.formatted(shown.text, style),
        *(safe.fence(_call_line(call), "text") for call in shown.tool_calls),
        tag("small", shown.footer) if shown.footer else "",
    ]
    return "\n\n".join(filter(None, parts))


def plain(shown: Shown) -> str:
    """Return it as text: the answer as the model wrote it, its tool calls, the footer."""
    return "\n\n".join(filter(None, [shown.text, *map(_call_line, shown.tool_calls), shown.footer]))


def _call_line(call: Mapping[str, Any]) -> str:
    function = call.get("function") or {}
    return f"{function.get('name') or '?'}({function.get('arguments') or ''})"
