"""What is wrong with a GGUF file, before an engine stumbles over it: some only say that they failed, some crash."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from byzer_magic.local_models import gguf


def damage(path: Path) -> str:
    """Return why a model's files cannot be whole, or "" when nothing is wrong with them that can be seen."""
    files = gguf.parts(path)
    found = ((file, _damage(file)) for file in files)
    file, reason = next((item for item in found if item[1]), (path, ""))
    return f"in {file.name}, {reason}" if reason and len(files) > 1 else reason


def _damage(path: Path) -> str:
    size = path.stat().st_size
    if size < gguf.HEADER.size:
        return f"the file ends after {size:,} bytes"
    try:
        with gguf.opened(path) as reader:
            meta = dict(reader.entry() for _ in range(reader.entries))
            tensors = [reader.tensor() for _ in range(reader.tensors)]
            unit = meta.get("general.alignment") or gguf.DEFAULT_ALIGNMENT
            start = -(-reader.at // unit) * unit
    except (struct.error, IndexError):
        return f"the file ends, after {size:,} bytes, in its description of the model"
    except gguf.UNREADABLE:
        return "the description of the model at the start of the file is damaged"
    return _wrong_place(tensors, unit) or (_cut_short(tensors, start, size) if tensors else "")


def _wrong_place(tensors: list[tuple[str, int, int, int]], unit: Any) -> str:
    """Return which tensor does not begin where the one before it ends."""
    expected = 0
    for name, elements, kind, offset in tensors:
        if offset != expected:
            return f"the description of {name} is damaged"
        length = bytes_of(elements, kind)
        if not length:
            return ""  # of a type that is not known here: no telling where the next one begins
        expected = -(-(offset + length) // unit) * unit
    return ""


def _cut_short(tensors: list[tuple[str, int, int, int]], start: int, size: int) -> str:
    last, elements, kind, offset = max(tensors, key=lambda tensor: tensor[3])
    begin = start + offset
    if begin >= size:
        return f"the file ends after {size:,} bytes, but {last} should start at {begin:,}"
    end = begin + bytes_of(elements, kind)
    return f"the file ends after {size:,} bytes, in the middle of {last} (to {end:,})" if end > size else ""


def bytes_of(elements: int, kind: int) -> int:
    """Return the bytes of a tensor, or 0 for a type that is not known here."""
    block, size = gguf.BLOCKS.get(gguf.TYPES.get(kind, ""), (1, 0))
    return elements // block * size
