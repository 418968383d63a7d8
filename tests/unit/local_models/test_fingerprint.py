"""The hash of a model's files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from byzer_magic.local_models import fingerprint


def model(folder: Path, **files: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def test_same_files_have_the_same_hash_anywhere(tmp_path: Path) -> None:
    memory = tmp_path / "hashes" / "memory.json"
    one, other = (model(tmp_path / name, config=b"{}", weights=b"123") for name in ("one", "other"))
    (other / ".cache").mkdir()
    (other / ".cache" / "lock").write_text("")
    found = fingerprint.of_model(one, memory)
    assert found == fingerprint.of_model(other, memory)
    model(other, weights=b"124")
    assert found != fingerprint.of_model(other, memory)
    assert fingerprint.of_model(one / "weights", memory) != found


def test_hash_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    memory = tmp_path / "memory.json"
    path = tmp_path / "model.gguf"
    path.write_bytes(b"one")
    os.utime(path, ns=(1, 1))
    first = fingerprint.of_model(path, memory)
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert fingerprint.of_model(path, memory) == first, "it was not read again"
    os.utime(path, ns=(2, 2))
    assert fingerprint.of_model(path, memory) != first
    assert memory.stat().st_mode & 0o077 == 0


def test_file_of_a_hub_is_not_read(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    blob = tmp_path / "blobs" / digest
    blob.parent.mkdir()
    blob.write_bytes(b"whatever")
    (tmp_path / "model.safetensors").symlink_to(blob)
    plain = model(tmp_path / "plain") / "model.safetensors"
    plain.write_bytes(b"weights")
    memory = tmp_path / "memory.json"
    assert fingerprint.of_model(tmp_path / "model.safetensors", memory) == fingerprint.of_model(plain, memory)
