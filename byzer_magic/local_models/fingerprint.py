"""The hash of a model's files, by which the same weights are known under any path.

Hashing takes a second per gigabyte or two, so that what was hashed is remembered by path, size and time of change.
Models in the cache of Hugging Face have it in the names of their files already.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from byzer_magic.files import private

_SHA256 = re.compile(r"[0-9a-f]{64}")
KEPT = 2000
"""Files that are remembered."""


def remembered_in() -> Path:
    """Return the file with the hashes of this machine."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "byzer-magic" / "file-hashes.json"


def of_model(path: Path, memory: Path | None = None) -> str:
    """Return the hash of a model: a file, or all files in a folder, by their names and bytes.

    Args:
        path: the file or folder.
        memory: where hashes are remembered; by default `remembered_in`.

    Raises:
        OSError: a file cannot be read.
    """
    memory = memory or remembered_in()
    before = _read(memory)
    found = {name: _of_file(file, before) for name, file in _files(path)}
    known = before | {key: digest for key, digest in found.values() if key}
    if known != before:
        _write(memory, known)
    text = json.dumps({name: digest for name, (_key, digest) in found.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if not path.is_dir():
        yield "", path
        return
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") for part in name.parts):
            yield name.as_posix(), file


def _of_file(path: Path, known: dict[str, str]) -> tuple[str, str]:
    """Return under which key a file's hash is to be remembered, "" for one that need not be, and the hash."""
    real = path.resolve()
    if _SHA256.fullmatch(real.name):
        return "", real.name
    stat = real.stat()
    key = f"{real}|{stat.st_size}|{stat.st_mtime_ns}"
    if key not in known:
        with real.open("rb") as file:
            return key, hashlib.file_digest(file, "sha256").hexdigest()
    return key, known[key]


def _read(memory: Path) -> dict[str, str]:
    try:
        found = json.loads(private.read_own(memory) or b"{}")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(memory: Path, known: dict[str, str]) -> None:
    newest = dict(list(known.items())[-KEPT:])
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        private.replace_own(memory, json.dumps(newest).encode())
    except OSError:
        return  # it is hashed again the next time
