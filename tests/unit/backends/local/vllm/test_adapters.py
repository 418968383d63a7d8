"""LoRA adapters that requests choose; the engine is a stand-in that notes what it loads."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from byzer_magic.backends.engine.adapters import CONFIG
from byzer_magic.backends.local.vllm.adapters import Adapters
from byzer_magic.errors import BadRequest


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in ("models/qwen", "models/lora", "other/lora"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / CONFIG).write_text("{}", encoding="utf-8")
    return tmp_path / "models"


def adapters(models: Path, loaded: list[tuple[str, str]], **params: str) -> Adapters:
    async def load(name: str, path: str) -> None:
        loaded.append((name, path))

    running: Any = SimpleNamespace(load_adapter=load)
    given = {"enable_lora": "true", **params}
    return Adapters(running, {f"backend.{name}": value for name, value in given.items()}, models / "qwen")


async def test_adapter_is_loaded_once_and_again_when_it_was_trained_anew(models: Path) -> None:
    loaded: list[tuple[str, str]] = []
    known = adapters(models, loaded)
    folder = models / "lora"
    first = await known.name(str(folder))
    assert await known.name({"name": "mine", "path": str(folder)}) == first
    assert await known.name("lora") == first, "the name of a folder is one beside the model"
    assert loaded == [(first, str(folder))]
    os.utime(folder / CONFIG, ns=(1, 2**61))
    second = await known.name(str(folder))
    assert second != first
    assert loaded[1:] == [(second, str(folder))]


@pytest.mark.parametrize("asked", ["../other/lora", "lora/../../other/lora", "link"])
async def test_adapters_elsewhere_are_refused_unless_the_deployment_allows_them(models: Path, asked: str) -> None:
    (models / "link").symlink_to(models.parent / "other" / "lora")
    path = str(models / asked)
    with pytest.raises(BadRequest, match="is not in") as caught:
        await adapters(models, []).name(path)
    assert "backend.allowed_lora_path" in caught.value.hint
    loaded: list[tuple[str, str]] = []
    assert await adapters(models, loaded, allowed_lora_path=str(models.parent / "other")).name(path)
    assert loaded


@pytest.mark.parametrize("asked", ["nothing", 3, None, {"name": "x"}])
async def test_what_is_no_adapter_is_refused(models: Path, asked: Any) -> None:
    path = str(models / asked) if isinstance(asked, str) else asked
    with pytest.raises(BadRequest, match="not the folder of a LoRA adapter"):
        await adapters(models, []).name(path)


async def test_unknown_name_gets_the_nearest_and_else_all(models: Path) -> None:
    for asked, hint in (("lroa", "Did you mean lora?"), ("something-else", "lora, qwen")):
        with pytest.raises(BadRequest) as caught:
            await adapters(models, []).name(asked)
        assert hint in str(caught.value.hint)
