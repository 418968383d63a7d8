"""What each client is given: an endpoint with a key, models behind it, and what to ask them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import BaseModel

URL = os.environ["ENDPOINT_URL"]
V1 = f"{URL}/v1"
KEY = os.environ["ENDPOINT_KEY"]
WRONG_KEY = "sk-of-nobody"
CHATS = ("gpt", "claude")
"""Aliases of two providers with different APIs: both say "Echo: " and what was said to them."""
EMBEDDINGS = "emb"
LOCAL = "llama"
"""The alias of a small local model, which says anything."""
NO_MODEL = "gtp"
"""No alias; the nearest is `gpt`."""
CALL = "tool:weather"
"""The message that both answer with a call of `weather` for Paris."""


class Place(BaseModel):
    """A place."""

    city: str


def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"18 degrees in {city}"


PAGE = Path(__file__).parents[3] / "docs" / "endpoint.md"
IN_PAGE = {"http://127.0.0.1:8000": URL, "none": KEY, "gpt4o_chat": CHATS[0], "gpt_emb": EMBEDDINGS}


def documented(start: str) -> str:
    """Return the only block of the documentation that begins so, as it is but for the URL, the key and the names."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    [block] = [block for block in blocks if block.startswith(start)]
    for theirs, ours in IN_PAGE.items():
        block = block.replace(theirs, ours)
    return str(block)
