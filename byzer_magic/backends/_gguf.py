"""GGUF files: finding the one that is meant, and reading as much of it as a check needs.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import difflib
import mmap
import re
import struct
from pathlib import Path
from typing import Any

from byzer_magic.errors import BadParameter

MAGIC = b"GGUF"
HEADER = struct.Struct("<4sIQQ")
VERSIONS = (2, 3)
MOST_ENTRIES = 1_000_000
"""More tensors or metadata entries than any model has: the header is garbage."""
DEFAULT_ALIGNMENT = 32

_FIXED = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING = 8
_ARRAY = 9
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")


def find(model_path: str | None) -> Path:
    """Return the model file that `--model_path` means: a file, or the only one in a folder.

    Raises:
        BadParameter: there is none, there are several, or it is no GGUF file.
    """
    if not model_path:
        raise BadParameter("llama_cpp needs --model_path.", "Give the path of a .gguf file.")
    path = Path(model_path).expanduser()
    if path.is_dir():
        path = _only_one(path)
    elif not path.is_file():
        raise BadParameter(f"No file at {path}.", _near(path))
    _check_header(path)
    return path


def _only_one(folder: Path) -> Path:
    found = sorted(
        item
        for item in folder.glob("*.gguf")
        if not _LATER_PART.search(item.name) and "mmproj" not in item.name.lower()
    )
    if len(found) == 1:
        return found[0]
    if not found:
        raise BadParameter(
            f"There is no .gguf file in {folder}.", "llama_cpp runs GGUF files; convert the model first."
        )
    raise BadParameter(
        f"There are {len(found)} models in {folder}: {', '.join(item.name for item in found)}.",
        f"Name one, e.g. --model_path {found[0]}",
    )


def _near(path: Path) -> str:
    folder = next((item for item in path.parents if item.is_dir()), Path())
    if folder != path.parent:
        return f"The folder {folder} exists, but not {path.relative_to(folder).parts[0]} in it."
    names = sorted(item.name for item in folder.iterdir())
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    models = [name for name in names if name.endswith(".gguf")]
    if near:
        return f"Did you mean {folder / near[0]}?"
    return f"In {folder} there is: {', '.join(models[:5])}." if models else f"There is no .gguf file in {folder}."


def _check_header(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(HEADER.size)
    except OSError as err:
        raise BadParameter(f"{path} cannot be read: {err.strerror}.", "Check its permissions.") from err
    if head[:4] != MAGIC:
        start = f"it starts with {head[:4]!r}" if head else "it is empty"
        raise BadParameter(
            f"{path} is not a GGUF file ({start}).", "llama_cpp runs GGUF files; convert the model first."
        )
    if len(head) < HEADER.size:
        raise BadParameter(f"{path} ends in its header, after {len(head)} bytes.", "Download it again.")
    _, version, tensors, entries = HEADER.unpack(head)
    if version not in VERSIONS or not 0 < tensors < MOST_ENTRIES or not 0 < entries < MOST_ENTRIES:
        raise BadParameter(
            f"{path} has a damaged header (version {version}, {tensors} tensors, {entries} entries).",
            "Download it again.",
        )


class Reader:
    """Walks through metadata and tensor descriptions; stops with struct.error or IndexError where the file ends."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        _, _, self.tensors, self.entries = HEADER.unpack_from(data)
        self.at = HEADER.size

    def number(self, code: str) -> Any:
        """Return the next number."""
        (value,) = struct.unpack_from(f"<{code}", self._data, self.at)
        self.at += struct.calcsize(f"<{code}")
        return value

    def text(self) -> str:
        """Return the next string."""
        length = self.number("Q")
        self.at += length
        return self._data[self.at - length : self.at].decode(errors="replace")

    def value(self, kind: int) -> Any:
        """Return the next value; arrays are only stepped over."""
        if kind in _FIXED:
            return self.number(_FIXED[kind])
        if kind == _STRING:
            return self.text()
        inner, length = self.number("I"), self.number("Q")
        if inner in _FIXED:
            self.at += length * struct.calcsize(f"<{_FIXED[inner]}")
        else:
            for _ in range(length):
                self._step_over(inner)
        return None

    def _step_over(self, kind: int) -> None:
        if kind == _STRING:
            length = self.number("Q")  # on its own line: it moves `at` itself
            self.at += length
        else:
            self.value(kind)

    def entry(self) -> tuple[str, Any]:
        """Return the next metadata entry."""
        return self.text(), self.value(self.number("I"))

    def tensor(self) -> tuple[str, int]:
        """Return name and offset of the next tensor."""
        name = self.text()
        dimensions = self.number("I")
        self.at += 8 * dimensions + 4
        return name, self.number("Q")


def context_length(path: Path) -> int | None:
    """Return how many tokens the model was trained for, or None when the file does not tell."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            reader = Reader(data)
            for _ in range(reader.entries):
                name, value = reader.entry()
                if name.endswith(".context_length"):
                    return int(value)
    except (OSError, ValueError, struct.error):
        return None
    return None


def damage(path: Path) -> str:
    """Return why a file cannot be whole, or "" when nothing is wrong with it that can be seen."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            reader = Reader(data)
            meta = dict(reader.entry() for _ in range(reader.entries))
            tensors = dict(reader.tensor() for _ in range(reader.tensors))
            unit = meta.get("general.alignment") or DEFAULT_ALIGNMENT
            last, offset = max(tensors.items(), key=lambda item: item[1])
            start = -(-reader.at // unit) * unit + offset
    except (struct.error, IndexError, ValueError):
        return f"the file ends, after {size:,} bytes, in its description of the model"
    return f"the file ends after {size:,} bytes, but {last} should start at {start:,}" if start >= size else ""
