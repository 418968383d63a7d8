"""How many tokens texts have, roughly, since only the provider has the model's tokenizer."""

from __future__ import annotations

from typing import Any

import msgspec

BYTES_PER_TOKEN = 4
"""What a token of text takes in UTF-8, roughly: four letters, or one and a third Chinese characters."""


def text_bytes(value: Any) -> int:
    """Return how much text there is in a value, in bytes of UTF-8; images and audio are none.

    Example:
        >>> text_bytes({"role": "user", "content": [{"text": "Hi"}, {"url": "data:image/png;base64,iVBORw0KGgo="}]})
        6
    """
    if isinstance(value, str):
        if value.startswith("data:"):
            return 0
        return len(value) if value.isascii() else len(value.encode(errors="replace"))
    if isinstance(value, dict):
        return sum(text_bytes(item) for name, item in value.items() if name != "data")
    if isinstance(value, list):
        return sum(map(text_bytes, value))
    if isinstance(value, msgspec.Struct):
        return sum(text_bytes(getattr(value, name)) for name in value.__struct_fields__)
    return 0
