"""Images through llama.cpp: a small real model that recognizes colours (see tests/models/gguf_vision.py)."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.local.llama_cpp import driver_llama_cpp_python
from byzer_magic.capabilities import Capability
from byzer_magic.types import ChatRequest, Media, Message
from tests.backends import ask, collect, opened, setup_of, text_of
from tests.models.gguf_vision import PATCHES, mmproj

KIND = "custom/auto@llama_cpp"
LLAMA = registry.find("custom/auto", "llama_cpp")
TASK = "is the colour of the picture."
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(gguf: Path) -> AsyncIterator[Any]:
    params = {"n_threads": "1", "n_ctx": "1024", "temperature": "0", "max_tokens": "12"}
    backend = await opened(KIND, {**params, "clip_model_path": str(mmproj())}, model_path=str(gguf))
    yield backend
    await backend.close()


def image(colour: tuple[int, int, int], form: str = "PNG") -> Media:
    data = io.BytesIO()
    Image.new("RGB", (50, 40), colour).save(data, form)
    return Media(f"image/{form.lower()}", data.getvalue())


def request(*media: Media, text: str = TASK) -> ChatRequest:
    return ChatRequest(messages=[Message("user", [*media, {"type": "text", "text": text}])])


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("name", list(COLOURS))
async def test_vision_model_describes_the_image(backend: Any, name: str, form: str) -> None:
    output = text_of(await collect(backend, request(image(COLOURS[name], form))))
    assert output == f"The colour of the picture is {name}."


async def test_vision_counts_image_tokens(backend: Any) -> None:
    counts = []
    for images in range(3):
        chunks = await collect(backend, request(*[image((255, 0, 0))] * images))
        counts += [chunk.usage.prompt_tokens for chunk in chunks if chunk.usage]
    assert counts == [counts[0], counts[0] + PATCHES, counts[0] + 2 * PATCHES]


async def test_vision_needs_the_mmproj(backend: Any, gguf: Path) -> None:
    assert backend.capabilities() == {Capability.CHAT, Capability.TOOLS, Capability.VISION}
    no_vision = await opened(KIND, {"driver": "xllamacpp", "n_threads": "1", "n_ctx": "256"}, model_path=str(gguf))
    assert no_vision.capabilities() == {Capability.CHAT, Capability.TOOLS}
    await no_vision.close()


async def test_vision_model_chats_without_images(backend: Any) -> None:
    output = text_of(await collect(backend, ask("What is the capital of France? Answer in one sentence.")))
    assert output == "The capital of France is Paris."


async def test_vision_refuses_an_invalid_image(backend: Any) -> None:
    for media in (Media("image/png", b"no image"), Media("image/png", url="file:///etc/hostname")):
        with pytest.raises(errors.BadRequest):
            await collect(backend, request(media))
    assert "red" in text_of(await collect(backend, request(image(COLOURS["red"]))))


async def test_vision_request_can_be_cancelled(backend: Any) -> None:
    task = asyncio.create_task(collect(backend, request(*[image((255, 0, 0))] * 20, text="Tell a story.")))
    await asyncio.sleep(0.3)
    started = time.process_time()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    print(f"left after {time.process_time() - started:.2f} s")
    assert time.process_time() - started < 3
    assert "green" in text_of(await collect(backend, request(image(COLOURS["green"]))))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"", b"", "inside the tensor mm.1.bias"),
        (b"janus_pro", b"janus_foo", "unknown projector type: janus_foo"),
        (b"mm.1.weight", b"mm.9.weight", "unable to find tensor mm.1.weight"),
        (b"clip.vision.patch_size", b"clip.vision.patch_syze", "patch_size"),
    ],
)
async def test_vision_damaged_mmproj_has_the_reason(
    gguf: Path, tmp_path: Path, old: bytes, new: bytes, words: str
) -> None:
    vision = tmp_path / "mmproj.gguf"
    vision.write_bytes(mmproj().read_bytes().replace(old, new) if old else mmproj().read_bytes()[:-100])
    started = time.process_time()
    with pytest.raises(errors.EngineFailed, match=words) as caught:
        await opened(KIND, {"n_threads": "1", "n_ctx": "256", "clip_model_path": str(vision)}, model_path=str(gguf))
    assert str(vision) in caught.value.message
    assert time.process_time() - started < 5


async def test_vision_refuses_what_is_not_an_mmproj(gguf: Path, tmp_path: Path) -> None:
    for path, words in ((gguf, "is not an mmproj"), (tmp_path / "x.gguf", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(errors.BadParameter, match=words):
            setup_of(LLAMA, {"clip_model_path": str(path)}, model_path=str(gguf))


async def test_vision_of_llama_cpp_python_needs_libmtmd(gguf: Path) -> None:
    params = {"driver": "llama-cpp-python", "clip_model_path": str(mmproj()), "temperature": "0", "n_threads": "1"}
    if not driver_llama_cpp_python.has_vision():  # LLAVA_BUILD=OFF, as in CI
        with pytest.raises(errors.BadParameter, match="was compiled without libmtmd") as caught:
            setup_of(LLAMA, params, model_path=str(gguf))
        assert "driver=xllamacpp" in caught.value.hint
        return
    backend = await opened(KIND, params, model_path=str(gguf))
    assert Capability.VISION in backend.capabilities()
    for name, colour in COLOURS.items():
        assert text_of(await collect(backend, request(image(colour)))) == f"The colour of the picture is {name}."
    for media in (Media("image/png", b"no image"), Media("image/png", url="file:///etc/hostname")):
        with pytest.raises(errors.BadRequest):
            await collect(backend, request(media))
    output = text_of(await collect(backend, ask("What is the capital of France? Answer in one sentence.")))
    assert output == "The capital of France is Paris."
    await backend.close()
