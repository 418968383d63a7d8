"""GGUF files: finding the model's file, and reading its header.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import re
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from byzer_magic.errors import BadParameter
from byzer_magic.files import paths
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.local_models.hubs.reference import meant

MAGIC = b"GGUF"
HEADER = struct.Struct("<4sIQQ")
VERSIONS = (2, 3)
MOST_ENTRIES = 1_000_000
"""More tensors or metadata entries than any model has: the header is garbage."""
DEFAULT_ALIGNMENT = 32

_TYPE_NAMES = (
    "F32 F16 Q4_0 Q4_1 - - Q5_0 Q5_1 Q8_0 Q8_1 Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K IQ2_XXS IQ2_XS IQ3_XXS IQ1_S IQ4_NL "
    "IQ3_S IQ2_S IQ4_XS I8 I16 I32 I64 F64 IQ1_M BF16"
)
TYPES = dict(enumerate(_TYPE_NAMES.split(" ")))
"""Data types of tensors by ggml's number: https://github.com/ggml-org/ggml/blob/master/include/ggml.h."""
BLOCKS = {
    "F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22),
    "Q5_1": (32, 24), "Q8_0": (32, 34), "Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144),
    "Q5_K": (256, 176), "Q6_K": (256, 210), "IQ4_NL": (32, 18), "IQ4_XS": (256, 136),
}  # fmt: skip
"""Elements and bytes of one block."""
UNREADABLE = (OSError, ValueError, struct.error, IndexError, OverflowError)

_FIXED = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING = 8
_ARRAY = 9
_FIRST_PART = re.compile(r"-00001-of-(\d{5})\.gguf$")
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-(\d{5})\.gguf$")
_OTHER_MAGIC = {
    b"lmgg": _("it is a ggml file: a whisper.cpp model, or one from before GGUF"),
    b"tjgg": _("it is a ggml file from before GGUF"),
    b"algg": _("it is a ggml LoRA adapter"),
    b"PK\x03\x04": _("it is a PyTorch or ZIP file"),
    b"vers": _("it is a Git LFS pointer"),
}
"""What a file that is not a GGUF file may be, by its first four bytes."""
_MMPROJ = _("an mmproj, the part of a model for images and audio")
_OTHER_MODELS = {
    "clip": _MMPROJ,
    "mmproj": _MMPROJ,
    "whisper": _("a speech recognition model"),
    "imatrix": _("an importance matrix"),
    "adapter": _("a LoRA adapter"),
}
"""What a GGUF file may hold besides a language model, by `general.architecture` or `general.type`."""
MOST_BYTES = 1 << 30
"""Longer than any text in a header; llama.cpp has the same limit."""
LONGEST_NAME = 1024
MOST_DIMENSIONS = 4


def has_magic(path: Path) -> bool:
    """Return whether a file starts as GGUF files do, whatever its name is."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def is_later_part(name: str) -> bool:
    """Return whether a file is a part, but the first, of a model that is split."""
    return bool(_LATER_PART.search(name))


def find(model_path: str | None) -> Path:
    """Return the file that `--model_path` refers to: a file, or the only one in a folder; of a split model the first.

    Raises:
        BadParameter: there is none, there are several, it is not a GGUF file, or a part of it is missing.
    """
    if not model_path:
        raise BadParameter(_("llama_cpp needs --model_path."), _("Specify the path of a .gguf file."))
    path = paths.expanded(model_path)
    if not paths.exists(path):
        message, hint = paths.why_missing(model_path, ".gguf")
        raise BadParameter(message, meant(model_path, hint))
    if path.is_dir():
        path = _only_one(path)
    elif not path.is_file():
        raise BadParameter(_("{path} is not a regular file.", path=path), _("Specify the path of a .gguf file."))
    later = _LATER_PART.search(path.name)
    if later:
        first = f"{path.name[: later.start()]}-00001-of-{later[1]}.gguf"
        raise BadParameter(
            _("{name} is a later part of a split model.", name=path.name),
            _("Specify the first part: {with_name}", with_name=path.with_name(first)),
        )
    for part in parts(path):
        _check_header(part)
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
        raise BadParameter(_("{folder} contains no .gguf file.", folder=folder), _("Convert the model to GGUF first."))
    raise BadParameter(
        _(
            "{folder} contains {count_found} models: {found}.",
            count_found=len(found),
            folder=folder,
            found=listed(item.name for item in found),
        ),
        _("Choose one of them, e.g. --model_path {found}", found=found[0]),
    )


def _check_header(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(HEADER.size)
    except OSError as err:
        raise BadParameter(
            _("{path} cannot be read: {strerror}.", path=path, strerror=err.strerror), _("Check its permissions.")
        ) from err
    if head[:4] != MAGIC:
        start = (
            _OTHER_MAGIC.get(head[:4], _("it starts with {bytes}", bytes=repr(head[:4]))) if head else _("it is empty")
        )
        raise BadParameter(
            _("{path} is not a GGUF file ({start}).", path=path, start=start), _("Convert the model to GGUF first.")
        )
    if len(head) < HEADER.size:
        raise BadParameter(
            _("{path} is truncated: it ends in the header, after {count_head} bytes.", path=path, count_head=len(head)),
            _("Download it again."),
        )
    _magic, version, tensors, entries = HEADER.unpack(head)
    least = 0 if _FIRST_PART.search(path.name) else 1  # the first part may hold the description alone
    if version not in VERSIONS or not least <= tensors < MOST_ENTRIES or not 0 < entries < MOST_ENTRIES:
        raise BadParameter(
            _(
                "{path} has a damaged header (version {version}, {tensors} tensors, {entries} entries).",
                path=path,
                version=version,
                tensors=tensors,
                entries=entries,
            ),
            _("Download it again."),
        )


class Reader:
    """Walks through the header; stops with struct.error or IndexError where the file ends, ValueError at nonsense."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        _magic, _version, self.tensors, self.entries = HEADER.unpack_from(data)
        self.at = HEADER.size

    def number(self, code: str) -> Any:
        """Return the next number."""
        (value,) = struct.unpack_from(f"<{code}", self._data, self.at)
        self.at += struct.calcsize(f"<{code}")
        return value

    def text(self) -> str:
        """Return the next string."""
        length = self.number("Q")
        if length > MOST_BYTES:
            raise ValueError(length)
        self.at += length
        if self.at > len(self._data):
            raise IndexError(length)
        return self._data[self.at - length : self.at].decode(errors="replace")

    def name(self) -> str:
        """Return the next name, of an entry or a tensor."""
        name = self.text()
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise ValueError(name[:LONGEST_NAME])
        return name

    def value(self, kind: int) -> Any:
        """Return the next value; arrays are only stepped over."""
        if kind in _FIXED:
            return self.number(_FIXED[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            raise ValueError(kind)
        inner, length = self.number("I"), self.number("Q")
        if inner in _FIXED:
            self.at += length * struct.calcsize(f"<{_FIXED[inner]}")
        elif length > MOST_BYTES:
            raise ValueError(length)
        elif inner == _STRING:
            self._step_over_texts(length)
        else:
            for _index in range(length):
                self.value(inner)
        return None

    def _step_over_texts(self, count: int) -> None:
        """Step over the words of a vocabulary: hundreds of thousands, so without a call for each."""
        data, at, size = self._data, self.at, len(self._data)
        unpack = struct.Struct("<Q").unpack_from
        for _index in range(count):
            (length,) = unpack(data, at)
            at += 8 + length
            if at > size:
                raise ValueError(length) if length > MOST_BYTES else IndexError(length)
        self.at = at

    def entry(self) -> tuple[str, Any]:
        """Return the next metadata entry."""
        return self.name(), self.value(self.number("I"))

    def tensor(self) -> tuple[str, int, int, int]:
        """Return name, number of elements, type and offset of the next tensor."""
        name = self.name()
        dimensions = self.number("I")
        if dimensions > MOST_DIMENSIONS:
            raise ValueError(dimensions)
        elements = math.prod([self.number("Q") for _ in range(dimensions)])
        return name, elements, self.number("I"), self.number("Q")


def facts(path: Path) -> dict[str, Any]:
    """Return architecture, context, parameters, data type, files and their bytes, as far as they can be read.

    A split model is in several files; all of them count.

    Raises:
        BadParameter: a part of a split model is missing.
    """
    files = parts(path)
    meta: dict[str, Any] = {}
    count: Counter[str] = Counter()
    for file in files:
        try:
            with opened(file) as reader:
                meta = dict(reader.entry() for _index in range(reader.entries)) | meta
                for _index in range(reader.tensors):
                    _name, elements, kind, _offset = reader.tensor()
                    count[TYPES.get(kind, f"type {kind}")] += elements
        except UNREADABLE:
            continue  # the engine reports what is wrong with it
    family = str(meta.get("general.architecture", ""))
    return {
        "architecture": family,
        "context": meta.get(f"{family}.context_length"),
        "parameters": sum(count.values()) or None,
        "dtype": count.most_common(1)[0][0] if count else "",
        "files": files,
        "size": sum(file.stat().st_size for file in files),
        "config": {name: value for name, value in meta.items() if not name.startswith("tokenizer.")},
    }


def parts(path: Path) -> tuple[Path, ...]:
    """Return all files of a model, given its first.

    Raises:
        BadParameter: one of them is missing.
    """
    split = _FIRST_PART.search(path.name)
    if not split:
        return (path,)
    total = int(split[1])
    found = [path.with_name(f"{path.name[: split.start()]}-{n:05}-of-{total:05}.gguf") for n in range(1, total + 1)]
    missing = [file.name for file in found if not file.is_file()]
    if missing:
        raise BadParameter(
            _(
                "{name} is the first of {total} files, of which {missing} is missing.",
                name=path.name,
                total=total,
                missing=listed(missing[:3]),
            ),
            _("Put all files into {parent}.", parent=path.parent),
        )
    return tuple(found)


def metadata(path: Path) -> dict[str, Any]:
    """Return the entries of a file but its arrays; {} when it cannot be read."""
    try:
        with opened(path) as reader:
            return dict(reader.entry() for _index in range(reader.entries))
    except UNREADABLE:
        return {}


def other_model(meta: Mapping[str, Any]) -> str:
    """Return what a file is, when it is not a language model; else an empty text."""
    found = (meta.get("general.type"), meta.get("general.architecture"))
    return next((_OTHER_MODELS[name] for name in found if name in _OTHER_MODELS), "")


def context_length(meta: Mapping[str, Any]) -> int | None:
    """Return the model's context length in tokens, or None when its metadata does not have it."""
    value = meta.get(f"{meta.get('general.architecture')}.context_length")
    return int(value) if value else None


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """Return a reader that is behind the header of the file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield Reader(data)
