"""What a deploy form leaves in the saved notebook, and what a terminal shows in its place: text and HTML."""

from __future__ import annotations

import html
from collections.abc import Collection

from byzer_magic.commands import parser
from byzer_magic.rendering import assets


def still(line: str, typed: Collection[str], outcome: str, *, chinese: bool) -> dict[str, str]:
    """Return the command that the form stood for; the live form hides this while it is there.

    `typed` are the `${NAME}` that stand in the line for secrets somebody typed in; `outcome` is how it ended.
    """
    words = assets.texts("form", chinese=chinese)
    note = words["still_typed"].format(names=", ".join(typed)) if typed else ""
    quiet = 'style="margin:0;opacity:.8"'
    code = (
        '<pre style="margin:4px 0;padding:6px 8px;white-space:pre-wrap;overflow-wrap:anywhere;'
        f'border:1px solid var(--jp-border-color2,#8884)"><code>{html.escape(line)}</code></pre>'
    )
    parts = [
        f"<p {quiet}>{html.escape(words['still'])}</p>",
        code,
        *(f"<p {quiet}>{html.escape(text)}</p>" for text in (note, outcome) if text),
    ]
    body = "".join(parts)
    return {
        "text/html": f'<div class="bz-form-still bz-still">{body}</div>',
        "text/plain": "\n".join(filter(None, (line, note, outcome))),
    }


def terminal(line: str, *, chinese: bool) -> str:
    """Return what stands in for a form where there is text only: the help, and a line to edit."""
    words = assets.texts("form", chinese=chinese)
    return f"{parser.help_text('deploy', chinese=chinese)}\n\n{words['no_screen']}\n{line}"
