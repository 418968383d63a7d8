"""A model's answer as Markdown that is safe to show, and in the other formats of `--format`."""

from __future__ import annotations

import json
import re

CODE = re.compile(r"(^(?P<fence>`{3,}|~{3,}).*?(?:^(?P=fence)[`~]*[ \t]*$|\Z)|(?P<tick>`+)[^`].*?(?P=tick))", re.MULTILINE | re.DOTALL)
"""A fenced block (also one that is still being written) or an inline code span."""
TAG = re.compile(r"<(?=[A-Za-z/!?])")
FENCED = re.compile(r"^(```+|~~~+)[^\n]*\n(.*?)(?:^\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)


def safe(text: str) -> str:
    """Return Markdown whose raw HTML outside code shows as text.

    A notebook trusts what its own kernel printed, so a `<script>` in an answer would run.
    """
    pieces = []
    end = 0
    for match in CODE.finditer(text):
        pieces += [TAG.sub("&lt;", text[end : match.start()]), match[0]]
        end = match.end()
    return "".join([*pieces, TAG.sub("&lt;", text[end:])])


def formatted(text: str, style: str) -> str:
    """Return an answer as Markdown in one of `--format`'s styles: markdown, text, json, code."""
    if style == "text":
        return fence(text, "text")
    if style == "json":
        return fence(pretty_json(text), "json")
    if style == "code":
        return fence(code_in(text), "python")
    return safe(text)


def fence(text: str, language: str) -> str:
    """Return text as a fenced block that nothing in it can close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{text}\n{ticks}"


def pretty_json(text: str) -> str:
    """Return the JSON in `text` (bare or fenced) indented; what is not JSON stays as it is."""
    try:
        return json.dumps(json.loads(code_in(text)), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def code_in(text: str) -> str:
    """Return the fenced blocks of `text`, joined; all of it when there is none."""
    blocks = [match[2].rstrip("\n") for match in FENCED.finditer(text)]
    return "\n\n".join(blocks) if blocks else text
