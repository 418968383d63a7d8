"""Help texts as HTML: the same lines, with the two columns of options side by side however narrow the place is."""

from __future__ import annotations

import html
import re

ROW = re.compile(r"(?P<left> *\S.*?)(?:  +)(?P<right>\S.*)")
HEADING = re.compile(r"\S[^:：]*[:：]")
WIDEST_LEFT = 30
STYLE = "font-family:var(--jp-code-font-family,monospace);font-size:var(--jp-code-font-size,13px);line-height:1.45"


def to_html(text: str) -> str:
    """Return the text; lines `  --flag TEXT  what it is` become rows whose right column wraps within itself."""
    lines = text.split("\n")
    rows = [(line, ROW.fullmatch(line)) for line in lines]
    widths = [len(row["left"]) for _, row in rows if row and len(row["left"]) <= WIDEST_LEFT]
    return f'<div style="{STYLE}">' + "".join(_line(line, row, max(widths, default=0)) for line, row in rows) + "</div>"


def _line(line: str, row: re.Match[str] | None, width: int) -> str:
    if row:
        grid = f"display:grid;grid-template-columns:minmax({width + 1}ch,max-content) minmax(12em,1fr);column-gap:1ch"
        left = html.escape(row["left"].lstrip())
        indent = len(row["left"]) - len(row["left"].lstrip())
        return f'<div style="{grid}"><b style="padding-left:{indent}ch">{left}</b><span>{html.escape(row["right"])}</span></div>'
    if not line:
        return '<div style="height:.6em"></div>'
    weight = ";font-weight:600" if HEADING.fullmatch(line) else ""
    indent = len(line) - len(line.lstrip())
    return (
        f'<div style="padding-left:{indent + 4}ch;text-indent:-4ch;overflow-wrap:anywhere{weight}">'
        f"{html.escape(line.lstrip())}</div>"
    )
