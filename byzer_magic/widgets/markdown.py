"""A model's answer as Markdown that is safe to show, and in the other formats of `--format`."""

from __future__ import annotations

import html
import json
import re

OPENING = re.compile(r"(`{3,})[^`]*$|(~{3,})")
"""A fence at the very start of a line: there it is one, wherever the line stands."""
DOUBTFUL = re.compile(r"[\s>*+\-\d.)]*(```|~~~)")
"""A fence that may or may not be one, e.g. indented or in a list."""
SPAN = re.compile(r"(?P<code>(`+)(?!`).+?(?<!`)\2(?!`))|(?P<math>\$\$.+?\$\$|\$[^$\n]+\$)", re.DOTALL)
TAG = re.compile(r"<(?=[A-Za-z/!?])")
GAP = "<\u200b"
"""A `<` that begins no tag, and looks like one: for code, where an entity would show as it is written."""
FENCED = re.compile(r"^(```+|~~~+)[^\n]*\n(.*?)(?:^\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)


def safe(text: str) -> str:
    r"""Return Markdown whose raw HTML shows as text; `\(...\)` and `\[...\]` become math that notebooks know.

    A notebook trusts what its own kernel printed, so a `<script>` in an answer would run. Only what certainly is a
    fenced block is left alone; everywhere else no `<` begins a tag, whatever a Markdown reader takes the text for.
    """
    shown: list[str] = []
    prose: list[str] = []
    fence = ""
    doubt = False
    for line in text.split("\n"):
        if fence and not doubt:
            shown.append(line)
            if _closes(line, fence):
                fence = ""
        elif (opening := OPENING.match(line)) and not doubt:
            shown += [_prose("\n".join(prose))] if prose else []
            prose = []
            fence = opening[1] or opening[2]
            shown.append(line)
        else:
            doubt = doubt or DOUBTFUL.match(line) is not None
            prose.append(TAG.sub(GAP, line) if doubt else line)
    shown += [_prose("\n".join(prose))] if prose else []
    return "\n".join(shown)


def _closes(line: str, fence: str) -> bool:
    bare = line.strip()
    indent = len(line) - len(line.lstrip(" "))
    return indent <= 3 and len(bare) >= len(fence) and set(bare) == {fence[0]}


def _prose(text: str) -> str:
    text = re.sub(r"\\\((.+?)\\\)", r"$\1$", text)
    text = re.sub(r"\\\[(.+?)\\\]", r"$$\1$$", text, flags=re.DOTALL)
    pieces = []
    end = 0
    for match in SPAN.finditer(text):
        instead = GAP if match["code"] else "< "  # in math a space after < changes nothing
        pieces += [TAG.sub("&lt;", text[end : match.start()]), TAG.sub(instead, match[0])]
        end = match.end()
    return "".join([*pieces, TAG.sub("&lt;", text[end:])])


def folded(title: str, text: str) -> str:
    """Return text that is folded away until it is clicked; as plain text, so that no fence in it stays open."""
    body = html.escape(text).replace("`", "&#96;").replace("~", "&#126;").replace("$", "&#36;").replace("\n", "<br>")
    return f"<details><summary>{html.escape(title)}</summary><p>{body}</p></details>"


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
