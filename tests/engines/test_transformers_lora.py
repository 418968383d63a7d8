"""LoRA adapters that requests choose in transformers: each answers as it does alone, whatever else runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.local.transformers import adapters
from tests.backends import ask, collect, opened, setup_of, text_of
from tests.models.tiny_lora import make_lora
from tests.models.tiny_qwen2 import tiny_qwen2

KIND = "custom/auto@transformers"
TRANSFORMERS = registry.find("custom/auto", "transformers")
TOGETHER = 4

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adapters of the tiny model, and one of a larger model."""
    found = tmp_path_factory.mktemp("adapters")
    for name, seed in (("pirate", 1), ("poet", 2)):
        (found / name).mkdir()
        make_lora(found / name, seed)
    (found / "wide").mkdir()
    make_lora(found / "wide", width=96)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(folder: Path) -> AsyncIterator[Any]:
    params = {"backend.enable_lora": "true", "allowed_lora_path": str(folder), "temperature": "0", "max_tokens": "8"}
    backend = await opened(KIND, params, model_path=str(tiny_qwen2()), concurrency=TOGETHER)
    yield backend
    await backend.close()


async def answer(backend: Any, lora: Any = None) -> str:
    return text_of(await collect(backend, ask("Hello", **({"lora": lora} if lora else {}))))


async def test_request_chooses_an_adapter_by_name_or_path(backend: Any, folder: Path) -> None:
    plain, pirate, poet = await answer(backend), await answer(backend, "pirate"), await answer(backend, "poet")
    assert len({plain, pirate, poet}) == 3
    assert await answer(backend) == plain
    assert await answer(backend, {"name": "x", "path": str(folder / "pirate")}) == pirate
    assert await answer(backend, str(folder / "poet")) == poet


async def test_requests_with_different_adapters_do_not_mix(backend: Any) -> None:
    names = [None, "pirate", "poet"]
    alone = {name: await answer(backend, name) for name in names}
    asked = [name for _ in range(TOGETHER) for name in names]
    assert await asyncio.gather(*(answer(backend, name) for name in asked)) == [alone[name] for name in asked]
    assert max(backend._batches.sizes[-len(asked) :]) > 1, "those of one adapter are batched"


async def test_adapter_trained_anew_is_loaded_again(backend: Any, folder: Path) -> None:
    (folder / "young").mkdir()
    make_lora(folder / "young", 3)
    before = await answer(backend, "young")
    make_lora(folder / "young", 4)
    assert await answer(backend, "young") != before
    make_lora(folder / "young", 3)
    assert await answer(backend, "young") == before


async def test_more_adapters_than_stay_loaded_all_answer(
    backend: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {name: await answer(backend, name) for name in ("pirate", "poet")}
    monkeypatch.setattr(adapters, "MOST", 1)
    for name in ("pirate", "poet", "pirate", "poet"):
        assert await answer(backend, name) == alone[name]
    assert len(backend._model.network.peft_config) == 1


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        ("pirat", "'pirat' is not the folder of a LoRA adapter", "Did you mean pirate?"),
        ("nothing-of-the-kind", "is not the folder of a LoRA adapter", "pirate, poet"),
        ("../..", "is not in", "allowed_lora_path"),
        (17, "is not the folder of a LoRA adapter", "pirate, poet"),
        ("wide", "cannot be used with this model", "trained from this model"),
    ],
)
async def test_wrong_adapter_is_an_error_of_its_request_only(backend: Any, asked: Any, message: str, hint: str) -> None:
    plain, pirate = await answer(backend), await answer(backend, "pirate")
    with pytest.raises(errors.BadRequest, match=message) as caught:
        await answer(backend, asked)
    assert hint in str(caught.value.hint)
    assert (await answer(backend), await answer(backend, "pirate")) == (plain, pirate)


async def test_adapter_of_the_deployment_answers_requests_without_one(folder: Path) -> None:
    params = {
        "enable_lora": "true", "allowed_lora_path": str(folder), "adapter": str(folder / "poet"), "temperature": "0",
        "max_tokens": "8",
    }  # fmt: skip
    backend = await opened(KIND, params, model_path=str(tiny_qwen2()))
    try:
        own, pirate = await answer(backend), await answer(backend, "pirate")
        assert own == await answer(backend, "poet") != pirate
        assert await answer(backend) == own
    finally:
        await backend.close()


async def test_deployment_without_lora_refuses_adapters(folder: Path) -> None:
    backend = await opened(KIND, {"max_tokens": "2"}, model_path=str(tiny_qwen2()))
    try:
        with pytest.raises(errors.BadRequest, match="takes no LoRA adapters") as caught:
            await answer(backend, str(folder / "pirate"))
        assert "backend.enable_lora=true" in str(caught.value.hint)
    finally:
        await backend.close()


async def test_folder_of_adapters_without_the_switch_is_an_error(folder: Path) -> None:
    with pytest.raises(errors.BadParameter, match="has no effect without enable_lora"):
        setup_of(TRANSFORMERS, {"allowed_lora_path": str(folder)}, model_path=str(tiny_qwen2()))
