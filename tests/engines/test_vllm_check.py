"""What is checked of a vLLM deployment in the notebook, before anything starts and without importing vLLM."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.engine import loading
from byzer_magic.backends.local.vllm import engine as vllm_engine, params as vllm_params, progress as vllm_progress
from tests.backends import setup_of
from tests.models.tiny_qwen2 import changed, tiny_qwen2

VLLM = registry.find("custom/auto", "vllm")


@pytest.mark.filterwarnings("ignore")  # of the dozens of packages that vLLM imports
def test_params_have_every_argument_of_the_engine() -> None:
    args = pytest.importorskip("vllm.engine.arg_utils").AsyncEngineArgs
    theirs = {name for name in args.__dataclass_fields__ if not name.startswith("_")} - vllm_params.OURS
    ours = {param.name.removeprefix("backend.") for param in vllm_params.params()}
    assert theirs <= ours


@pytest.mark.parametrize(("given", "used"), [("1", 1), ("2", 8), ("8", 8), (17, 32)])
def test_rank_of_adapters_is_the_next_that_the_engine_has(given: object, used: int) -> None:
    assert vllm_params.checked("max_lora_rank", given) == used


def test_rank_of_adapters_beyond_the_engine_is_refused() -> None:
    with pytest.raises(errors.BadParameter, match="max_lora_rank is '9999'"):
        vllm_params.checked("max_lora_rank", "9999")


def test_guide_parameters_are_typed() -> None:
    given = {
        "backend.max_model_len": "28000",
        "backend.gpu_memory_utilization": "0.9",
        "backend.enforce_eager": "True",
        "trust_remote_code": "false",
        "backend.tensor_parallel_size": "2",
        "backend.dtype": "bfloat16",
    }
    params = setup_of(VLLM, given, model_path=str(tiny_qwen2())).params
    assert params == {
        "backend.max_model_len": 28000,
        "backend.gpu_memory_utilization": 0.9,
        "backend.enforce_eager": True,
        "backend.trust_remote_code": False,
        "backend.tensor_parallel_size": 2,
        "backend.dtype": "bfloat16",
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"backend.max_modle_len": "1"}, r"(?s)no parameter 'backend.max_modle_len'.*max_model_len"),
        ({"backend.max_model_len": "many"}, "not a whole number"),
        ({"backend.dtype": "flot32"}, r"(?s)dtype is 'flot32'.*Did you mean float32"),
        ({"backend.compilation_config": "{"}, "not valid JSON"),
    ],
)
def test_check_refuses_what_the_engine_does_not_support(given: dict[str, str], words: str) -> None:
    with pytest.raises(errors.BadParameter, match=words):
        setup_of(VLLM, given, model_path=str(tiny_qwen2()))


TOTAL = 143_771 * 1024**2
"""Bytes of an H200."""
CONTEXT = 600 * 1024**2
"""Bytes that a process takes of a GPU beside what it allocates."""


@pytest.fixture
def built_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed vLLM is one for GPUs."""
    package = dataclasses.replace(vllm_engine.PACKAGE, devices=lambda _: ("GPU",))
    monkeypatch.setattr(vllm_engine, "PACKAGE", package)


def arguments(gpus: float, **params: str) -> dict[str, Any]:
    given = {f"backend.{name}": value for name, value in params.items()}
    weights = vllm_engine.Weights(path=tiny_qwen2(), format="transformers")
    return vllm_engine.arguments(setup_of(VLLM, given, model_path=str(tiny_qwen2()), gpus=gpus), weights)


@pytest.mark.filterwarnings("ignore")  # of the dozens of packages that vLLM imports
@pytest.mark.usefixtures("built_for_gpus")
def test_share_of_a_gpu_is_that_of_the_reservation_and_halves_fit() -> None:
    """With vLLM's own configuration, and its own comparison with the free memory."""
    config = pytest.importorskip("vllm.config.cache").CacheConfig
    request_memory = pytest.importorskip("vllm.v1.worker.utils").request_memory
    args = pytest.importorskip("vllm.engine.arg_utils").AsyncEngineArgs

    def taken(given: dict[str, Any], free: int) -> int:
        names = args.__dataclass_fields__
        own = args(**{name: value for name, value in given.items() if name in names})
        assert own.enforce_eager
        snapshot = SimpleNamespace(total_memory=TOTAL, free_memory=free, device_="cuda:0")
        size: int = request_memory(snapshot, config(gpu_memory_utilization=own.gpu_memory_utilization))
        return size

    assert taken(arguments(1), TOTAL - CONTEXT) == pytest.approx(0.9 * TOTAL, rel=1e-6)
    free = TOTAL
    for _half in range(2):
        size = taken(arguments(0.5), free - CONTEXT)
        assert size == pytest.approx(0.45 * TOTAL, rel=1e-6)
        free -= size + CONTEXT
    assert arguments(2)["gpu_memory_utilization"] == 0.9, "of each"
    assert arguments(0.5, gpu_memory_utilization="0.3")["gpu_memory_utilization"] == 0.3
    with pytest.raises(ValueError, match="less than desired") as caught:
        taken(arguments(1), TOTAL // 2)
    error = loading.failed("vLLM", tiny_qwen2(), caught.value, vllm_progress.hint)
    assert isinstance(error, errors.EngineFailed)
    assert "not enough memory" in error.message
    assert "backend.gpu_memory_utilization=0.48" in error.hint


@pytest.mark.usefixtures("built_for_gpus")
def test_deploy_reports_what_cuda_graphs_would_bring() -> None:
    def notes(gpus: float, **params: str) -> list[str]:
        return VLLM.notes(setup_of(VLLM, params, model_path=str(tiny_qwen2()), gpus=gpus))

    [note] = notes(1)
    assert "backend.enforce_eager=false" in note
    assert "\n" not in note
    assert notes(1, **{"backend.enforce_eager": "false"}) == []
    assert notes(1, **{"backend.enforce_eager": "true"}) == []


def test_on_a_cpu_nothing_is_of_a_gpu() -> None:
    assert "gpu_memory_utilization" not in arguments(1)
    assert "kv_cache_memory_bytes" in arguments(0)
    assert VLLM.notes(setup_of(VLLM, {}, model_path=str(tiny_qwen2()), gpus=1)) == []


def test_on_a_cpu_a_single_rank_computes_in_the_process_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND", raising=False)
    for gpus in (0, 0.5, 1):
        assert arguments(gpus)["distributed_executor_backend"] == vllm_engine.IN_PROCESS
    assert arguments(0, distributed_executor_backend="mp")["distributed_executor_backend"] == "mp"
    assert arguments(2)["distributed_executor_backend"] == "mp"
    for name in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"):
        assert "distributed_executor_backend" not in arguments(0, **{name: "2"})
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0-1")
    assert "distributed_executor_backend" not in arguments(0), "only a process of its own can be bound"


@pytest.mark.parametrize(("gpus", "binding"), [(0, "nobind"), (0.5, "nobind"), (1, "nobind"), (2, "|")])
def test_only_several_ranks_have_cores_of_their_own(gpus: float, binding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert binding in environment(monkeypatch, gpus)["VLLM_CPU_OMP_THREADS_BIND"]


@pytest.mark.parametrize(("given", "compiles"), [({}, False), ({"backend.enforce_eager": "false"}, True)])
def test_eager_engine_on_a_cpu_compiles_nothing(
    given: dict[str, str], compiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ("TORCHDYNAMO_DISABLE" not in environment(monkeypatch, 2, given)) == compiles


@pytest.mark.usefixtures("built_for_gpus")
def test_engine_on_a_gpu_compiles_what_vllm_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "TORCHDYNAMO_DISABLE" not in environment(monkeypatch, 2)


def environment(monkeypatch: pytest.MonkeyPatch, gpus: float, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment in which vLLM is imported."""
    names = ("VLLM_NO_USAGE_STATS", "DO_NOT_TRACK", "VLLM_WORKER_MULTIPROC_METHOD", "OMP_NUM_THREADS")
    with monkeypatch.context() as patch:
        for name in (*names, "VLLM_CPU_OMP_THREADS_BIND", "TORCHDYNAMO_DISABLE"):
            patch.setenv(name, "")
            patch.delenv(name)
        vllm_engine.set_environment(1, setup_of(VLLM, {**(given or {})}, model_path=str(tiny_qwen2()), gpus=gpus))
        return dict(os.environ)


@pytest.mark.usefixtures("built_for_gpus")
@pytest.mark.parametrize(
    ("params", "gpus", "needed"),
    [
        ({"tensor_parallel_size": "4"}, 2, 4),
        ({"pipeline_parallel_size": "2"}, 1, 2),
        ({"tensor_parallel_size": "2", "pipeline_parallel_size": "2"}, 2, 4),
    ],
)
def test_check_refuses_more_ranks_than_gpus(params: dict[str, str], gpus: float, needed: int) -> None:
    with pytest.raises(errors.BadParameter, match=f"but the worker has {gpus} GPUs") as caught:
        arguments(gpus, **params)
    assert f"--gpus_per_worker {needed}" in caught.value.hint
    arguments(needed, **params)
    arguments(gpus, distributed_executor_backend="ray", **params)


def test_several_gpus_share_the_model() -> None:
    setup = setup_of(VLLM, {}, model_path=str(tiny_qwen2()), gpus=2.0, concurrency=7)
    weights = vllm_engine.Weights(path=tiny_qwen2(), format="transformers")
    arguments = vllm_engine.arguments(setup, weights)
    assert (arguments["tensor_parallel_size"], arguments["max_num_seqs"]) == (2, 7)
    assert vllm_engine.arguments(setup_of(VLLM, {"backend.tensor_parallel_size": "4"}, model_path=str(tiny_qwen2()),
                                          gpus=2.0), weights)["tensor_parallel_size"] == 4  # fmt: skip


def test_check_refuses_a_folder_without_tokenizer(tmp_path: Path) -> None:
    for file in tiny_qwen2().iterdir():
        if not file.name.startswith(("tokenizer", "vocab", "merges", "special")):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(errors.BadParameter, match="has no tokenizer"):
        setup_of(VLLM, {}, model_path=str(tmp_path))


def test_check_refuses_damaged_weights(tmp_path: Path) -> None:
    folder = changed(tmp_path)
    complete = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(complete[:-100])
    with pytest.raises(errors.BadParameter, match="its header describes"):
        setup_of(VLLM, {}, model_path=str(folder))
