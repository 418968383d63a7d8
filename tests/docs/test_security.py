"""The figures of the page on security are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from byzer_magic.backends.http import body_texts, endpoint, redirects, sse
from byzer_magic.commands import options, spec
from byzer_magic.files import text_files
from byzer_magic.gateway import bodies, connections
from byzer_magic.media import inputs
from byzer_magic.rendering.answer import code, formulas
from byzer_magic.runtime.kept import answers, sessions
from byzer_magic.runtime.transport import attachments, protocol

DOCS = Path(__file__).parents[2] / "docs"
MIB = 1024 * 1024
LIMITS = [
    (protocol.MAX_MESSAGE_BYTES, MIB),
    (inputs.LARGEST_BYTES, MIB),
    (attachments.MAX_REQUEST_BYTES, 1024 * MIB),
    (body_texts.MAX_BYTES, MIB),
    (endpoint.MAX_REASON_CHARS, 1),
    (sse.MAX_EVENT_BYTES, MIB),
    (redirects.MAX_REDIRECTS, 1),
    (text_files.LARGEST_BYTES, MIB),
    (formulas.LONGEST, 1),
    (code.LONGEST, 1),
    (options.LONGEST_NAME, 1),
    (spec.MAX_QUEUED, 1),
    (answers.Bounds().answer_bytes, MIB),
    (answers.Bounds().total_bytes, MIB),
    (answers.Bounds().answers, 1),
    (sessions.Bounds().session_bytes, MIB),
    (sessions.Bounds().total_bytes, MIB),
    (sessions.Bounds().sessions, 1),
    (connections.HEADER_BYTES, 1024),
    (bodies.MAX_BYTES, MIB),
    (bodies.MOST_TURNS, 1),
]
"""The limits in the order of the table, each with the unit that the table gives it in."""
UNITS = {1024: "KiB", MIB: "MiB", 1024 * MIB: "GiB"}


@pytest.mark.parametrize(("page", "heading"), [("security.md", "What is bounded"), ("zh/security.md", "有哪些上限")])
def test_figures_are_those_of_the_code(page: str, heading: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    table = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"(\d[\d,]*)( [KMG]iB)?", "\n".join(re.findall(r"^\|[^|]+\|([^|]+)\|$", table, re.MULTILINE)))
    assert [number.replace(",", "") + unit for number, unit in found] == [
        f"{limit // unit} {UNITS[unit]}" if unit in UNITS else str(limit) for limit, unit in LIMITS
    ]
