"""Check a GGUF file before an engine loads it: with a damaged file some report no cause, and some crash."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.local_models import gguf


def damage(path: Path) -> str:
    """Return why a model's files are damaged or incomplete; empty when nothing can be seen."""
    files = gguf.parts(path)
    found = ((file, _damage(file)) for file in files)
    file, reason = next((item for item in found if item[1]), (path, ""))
    return _("in {file}, {reason}", file=file.name, reason=reason) if reason and len(files) > 1 else reason


def _damage(path: Path) -> str:
    size = path.stat().st_size
    if size < gguf.HEADER.size:
        return _("the file ends after {size:,} bytes", size=size)
    try:
        with gguf.opened(path) as reader:
            meta = dict(reader.entry() for _index in range(reader.entries))
            tensors = [reader.tensor() for _index in range(reader.tensors)]
            unit = meta.get("general.alignment") or gguf.DEFAULT_ALIGNMENT
            start = -(-reader.at // unit) * unit
    except (struct.error, IndexError):
        return _("the file ends in the header, after {size:,} bytes", size=size)
    except gguf.UNREADABLE:
        return _("the header of the file is damaged")
    return _wrong_place(tensors, unit) or (_truncated(tensors, start, size) if tensors else "")


def _wrong_place(tensors: list[tuple[str, int, int, int]], unit: Any) -> str:
    """Return which tensor does not start where the one before it ends."""
    expected = 0
    for name, elements, kind, offset in tensors:
        if offset != expected:
            return _("the description of the tensor {name} is damaged", name=name)
        length = bytes_of(elements, kind)
        if not length:
            return ""  # an unknown type: where the next one begins is unknown, too
        expected = -(-(offset + length) // unit) * unit
    return ""


def _truncated(tensors: list[tuple[str, int, int, int]], start: int, size: int) -> str:
    last, elements, kind, offset = max(tensors, key=lambda tensor: tensor[3])
    begin = start + offset
    if begin >= size:
        facts = {"size": size, "name": last, "begin": begin}
        return _("the file ends after {size:,} bytes, but the tensor {name} should start at {begin:,}", **facts)
    end = begin + bytes_of(elements, kind)
    if end <= size:
        return ""
    facts = {"size": size, "name": last, "end": end}
    return _("the file ends after {size:,} bytes, inside the tensor {name} (which ends at {end:,})", **facts)


def bytes_of(elements: int, kind: int) -> int:
    """Return the bytes of a tensor, or 0 for a type that is not known here."""
    block, size = gguf.BLOCKS.get(gguf.TYPES.get(kind, ""), (1, 0))
    return elements // block * size
