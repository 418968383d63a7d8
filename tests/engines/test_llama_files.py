"""llama.cpp's files: split ones, damaged ones, and those that are not a language model, through both drivers."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.local.llama_cpp import load as llama_load
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.local_models import gguf as gguf_file
from byzer_magic.local_models.gguf_check import damage
from byzer_magic.plan import resolve
from tests.backends import ask, collect, opened, setup_of, text_of
from tests.models.gguf_split import PARTS, split
from tests.models.gguf_vision import mmproj

KIND = "custom/auto@llama_cpp"
LLAMA = registry.find("custom/auto", "llama_cpp")
QUESTION = "What is the capital of France? Answer in one sentence."

pytestmark = pytest.mark.engine


@pytest.fixture(params=list(llama_load.DRIVERS))
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def test_split_model_loads_all_parts(driver: str) -> None:
    params = {"driver": driver, "n_threads": "1", "n_ctx": "512", "temperature": "0"}
    backend = await opened(KIND, params, model_path=str(split()))
    assert text_of(await collect(backend, ask(QUESTION))) == "The capital of France is Paris."
    await backend.close()


def test_split_model_is_found_in_its_folder() -> None:
    assert gguf_file.find(str(split().parent)) == split()
    setup_of(LLAMA, {}, model_path=str(split().parent))


def test_split_model_with_a_missing_part_is_refused(tmp_path: Path) -> None:
    first = Path(shutil.copy(split(), tmp_path))
    with pytest.raises(errors.BadParameter, match=f"is the first of {PARTS} files, of which model-00002-of-00003"):
        setup_of(LLAMA, {}, model_path=str(first))


def test_split_model_later_part_names_the_first() -> None:
    second = split().with_name(split().name.replace("00001", "00002"))
    with pytest.raises(errors.BadParameter, match="is a later part of a split model") as caught:
        setup_of(LLAMA, {}, model_path=str(second))
    assert str(split()) in caught.value.hint


async def test_split_model_names_a_truncated_part(driver: str, tmp_path: Path) -> None:
    for file in split().parent.iterdir():
        (tmp_path / file.name).symlink_to(file)
    last = tmp_path / split().name.replace("00001", "00003")
    complete = last.read_bytes()
    last.unlink()
    last.write_bytes(complete[:-100])
    with pytest.raises(errors.EngineFailed, match=r"in model-00003-of-00003.gguf, the file ends after"):
        await opened(KIND, {"driver": driver, "n_threads": "1"}, model_path=str(tmp_path))


def _cut_in_the_header(complete: bytearray) -> bytes:
    return complete[:200_000]


def _cut_before_the_last(complete: bytearray) -> bytes:
    return complete[:5_000_000]


def _cut_in_the_last(complete: bytearray) -> bytes:
    return complete[:-1000]


def _noise(complete: bytearray) -> bytes:
    complete[300_000:300_064] = os.urandom(64)
    return complete


def _flipped(complete: bytearray) -> bytes:
    at = complete.index(b"blk.7.ffn_up.weight") + len("blk.7.ffn_up.weight") + 4
    complete[at] ^= 0x40  # of its first dimension
    return complete


def _unknown(complete: bytearray) -> bytes:
    return complete.replace(b"\x05\0\0\0\0\0\0\0llama\x0c", b"\x05\0\0\0\0\0\0\0foooo\x0c", 1)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_cut_in_the_header, "ends in the header, after"),
        (_cut_before_the_last, "should start at"),
        (_cut_in_the_last, "inside the tensor output_norm.weight"),
        (_noise, "the header of the file is damaged"),
        (_flipped, r"the description of the tensor \S+ is damaged"),
        (_unknown, "its architecture foooo is not supported"),
    ],
)
async def test_damage_has_its_place(
    driver: str, gguf: Path, tmp_path: Path, spoil: Callable[[bytearray], bytes], words: str
) -> None:
    spoilt = tmp_path / "model.gguf"
    spoilt.write_bytes(spoil(bytearray(gguf.read_bytes())))
    started = time.process_time()
    with pytest.raises(errors.EngineFailed, match=words) as caught:
        await opened(KIND, {"driver": driver, "n_threads": "1"}, model_path=str(spoilt))
    assert time.process_time() - started < 3
    assert "Download it again" in caught.value.hint or "Update" in caught.value.hint


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(_cut_in_the_header, "ends in the header, after"), (_cut_in_the_last, "inside the tensor output_norm.weight")],
)
def test_damage_is_found_before_anything_starts(
    gguf: Path, tmp_path: Path, spoil: Callable[[bytearray], bytes], words: str
) -> None:
    spoilt = tmp_path / "model.gguf"
    spoilt.write_bytes(spoil(bytearray(gguf.read_bytes())))
    spec = DeploySpec(model="m", infer_backend="llama_cpp", model_path=str(spoilt))
    with pytest.raises(errors.EngineFailed, match=words):
        resolve(spec, {}, {})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"GGUF", "ends in the header"),
        (b"GGUF" + b"\xff" * 40, "damaged header"),
        (b"lmgg" + bytes(100), "it is a ggml file: a whisper.cpp model"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer"),
        (b"PK\x03\x04" + bytes(100), "it is a PyTorch or ZIP file"),
    ],
)
def test_find_refuses_what_is_not_gguf(data: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(data)
    with pytest.raises(errors.BadParameter, match=words):
        setup_of(LLAMA, {}, model_path=str(file))


def test_check_refuses_an_mmproj_as_model() -> None:
    with pytest.raises(errors.BadParameter, match="is not a language model but an mmproj") as caught:
        setup_of(LLAMA, {}, model_path=str(mmproj()))
    assert "clip_model_path" in caught.value.hint


def test_damage_is_empty_for_complete_files(gguf: Path) -> None:
    started = time.process_time()
    assert [damage(path) for path in (gguf, split(), mmproj())] == ["", "", ""]
    print(f"{(time.process_time() - started) * 1000:.0f} ms")
