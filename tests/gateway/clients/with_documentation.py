"""What `docs/endpoint.md` says about clients, as it is but for the URL, the key and the names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from given import EMBEDDINGS, KEY, URL
from IPython.core.interactiveshell import InteractiveShell

PAGE = (Path(__file__).parents[3] / "docs" / "endpoint.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("\n## Clients\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```python\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
HERE = {"http://127.0.0.1:8000": URL, "none": KEY, "gpt4o_chat": "gpt", "gpt_emb": EMBEDDINGS}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split()[1])
def test_block(block: str) -> None:
    for theirs, ours in HERE.items():
        block = block.replace(theirs, ours)
    shell = InteractiveShell.instance()
    shell.run_cell(block, silent=True).raise_error()
    if "%ai" in block:
        assert str(shell.run_cell_magic("ai", "gpt4o -f text", "hi")) == "Echo: hi"


def test_section_has_blocks() -> None:
    assert len(BLOCKS) == 6
