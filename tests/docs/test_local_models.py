"""The figures and defaults of the page on local models are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from byzer_magic.backends.base import Setup
from byzer_magic.backends.local.transformers import batch
from byzer_magic.backends.local.vllm import engine, versions
from byzer_magic.backends.registry import find
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.local_models import files
from tests.models.tiny_qwen2 import tiny_qwen2

DOCS = Path(__file__).parents[2] / "docs"
PAGES = pytest.mark.parametrize("page", ["local-models.md", "zh/local-models.md"])


def words(page: str) -> str:
    """Return the text of a page, its lines joined."""
    return " ".join((DOCS / page).read_text(encoding="utf-8").split())


@PAGES
def test_vllm_takes_what_the_page_says(page: str) -> None:
    text = words(page)
    assert f"{engine.SHARE * 100:.0f} %" in text
    half = engine._on_gpus(Setup(model="v", params={}, gpus=0.5))["gpu_memory_utilization"]
    assert half == 0.45
    assert "0.45" in text
    assert f"{engine.CPU_CONTEXT:,}" in text


@PAGES
def test_versions_of_vllm_are_those_that_work(page: str) -> None:
    text = words(page)
    assert any(f"{versions.OLDEST} {to} {versions.NEWEST}" in text for to in ("to", "到"))


def test_cuda_graphs_are_off_and_no_gpu_is_reserved_by_default() -> None:
    setup = Setup(model="v", params={}, gpus=1.0, model_path=str(tiny_qwen2()))
    assert engine.arguments(setup, files.inspect(setup.model_path))["enforce_eager"] is True
    assert DeploySpec(model="v").gpus_per_worker == 0


def test_waits_of_transformers_are_those_of_the_pages() -> None:
    assert (batch.JOIN_SECONDS, batch.MOST_JOIN_SECONDS) == (0.01, 0.25)
    assert "a hundredth of a second after each arrival" in words("local-models.md")
    assert "a quarter of a second at most" in words("local-models.md")
    assert "再等百分之一秒，最多等四分之一秒" in words("zh/local-models.md")


@pytest.mark.parametrize("name", ["transformers", "deepspeed"])
def test_engines_that_generate_a_token_first_share_how_they_open(name: str) -> None:
    assert find("custom/auto", name).open.__func__ is find("custom/auto", "transformers").open.__func__  # type: ignore[attr-defined]
