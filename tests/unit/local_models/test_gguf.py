"""Finding GGUF files, and their headers."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from byzer_magic import errors
from byzer_magic.local_models import gguf as gguf_file


def gguf(path: Path, *, tensors: int = 1, entries: int = 1, version: int = 3) -> Path:
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", version, tensors, entries))
    return path


def test_find_takes_the_only_model_of_a_folder(tmp_path: Path) -> None:
    first = gguf(tmp_path / "big-00001-of-00002.gguf")
    gguf(tmp_path / "big-00002-of-00002.gguf")
    gguf(tmp_path / "mmproj-big.gguf")
    assert gguf_file.find(str(tmp_path)) == first
    gguf(tmp_path / "other.gguf")
    with pytest.raises(errors.BadParameter, match=r"contains 2 models: big-00001-of-00002\.gguf, other\.gguf"):
        gguf_file.find(str(tmp_path))


def test_find_rejects_files_that_are_not_models(tmp_path: Path) -> None:
    model = gguf(tmp_path / "llama-3-8b.Q4.gguf")
    (tmp_path / "page.gguf").write_bytes(b"<html>")
    (tmp_path / "empty.gguf").write_bytes(b"")
    (tmp_path / "short.gguf").write_bytes(b"GGUF\x03\x00")
    gguf(tmp_path / "odd.gguf", version=99)
    (tmp_path / "none").mkdir()
    cases = {
        None: "needs --model_path",
        "llama-3-8b.Q5.gguf": f"Did you mean {model}?",
        "zzzzzzzz": " contains: ",
        "none": "contains no .gguf file",
        "no/where/x.gguf": "exists, but it has no no",
        "page.gguf": "is not a GGUF file (it starts with b'<htm')",
        "empty.gguf": "is not a GGUF file (it is empty)",
        "short.gguf": "ends in the header, after 6 bytes",
        "odd.gguf": "damaged header (version 99",
    }
    for name, words in cases.items():
        with pytest.raises(errors.BadParameter) as caught:
            gguf_file.find(str(tmp_path / name) if name else None)
        assert words in str(caught.value)
