"""Why a model could not be loaded, and what loading shows meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from byzer_magic import errors
from byzer_magic.backends.engine import loading
from byzer_magic.backends.engine.threads import Turns
from byzer_magic.backends.local.llama_cpp import load as llama_load
from byzer_magic.backends.local.llama_cpp.driver import Load

MODEL = Path("/models/m")
ON_GPU = [
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.65 GiB of which 1.1 GiB is free.",
    "HIP out of memory. Tried to allocate 2.00 GiB.",
    "unable to allocate CUDA0 buffer",
    "CUDA failed with error out of memory",
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : BFCArena: Failed to allocate memory for requested buffer on CUDA",
    "vk::Device::allocateMemory: ErrorOutOfDeviceMemory",
    "CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)` on cuda:0",
]
"""Of torch, llama.cpp, CTranslate2, ONNX Runtime and cuBLAS."""


@pytest.mark.parametrize("text", ON_GPU)
def test_gpu_without_enough_memory_has_a_next_step(text: str) -> None:
    error = loading.failed("engine", MODEL, RuntimeError(text))
    assert isinstance(error, errors.EngineFailed)
    assert "not enough memory" in error.message
    for words in ("quantized", "context", "--gpus_per_worker", "doctor"):
        assert words in error.hint


@pytest.mark.parametrize(
    "err",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
     RuntimeError("std::bad_alloc")],
)  # fmt: skip
def test_computer_without_enough_memory_has_a_next_step(err: Exception) -> None:
    error = loading.failed("engine", MODEL, err)
    assert "not enough memory" in error.message
    assert "quantized" in error.hint
    assert "--gpus_per_worker" not in error.hint


@pytest.mark.parametrize(
    "log",
    [
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 4096.00 MiB on device 0: "
        "cudaMalloc failed: out of memory\n"
        "llama_model_load: error loading model: unable to allocate CUDA0 buffer\n",
        "llama_init_from_model: failed to initialize the context: "
        "failed to allocate buffer for kv cache on device CUDA0\n",
    ],
)
def test_llama_cpp_without_enough_memory_has_a_next_step(log: str) -> None:
    error = llama_load._failed(Load(path=MODEL, settings={}, parallel=1, longest=None), errors.EngineFailed(log))
    assert isinstance(error, errors.EngineFailed)
    assert "not enough memory" in error.message
    assert "--gpus_per_worker" in error.hint


@pytest.mark.parametrize("text", ON_GPU[:4])
async def test_request_without_enough_memory_has_a_next_step(text: str) -> None:
    turns = Turns("engine")

    def work(_emit: object, _stopped: object) -> None:
        raise RuntimeError(text)

    with pytest.raises(errors.ProviderError, match="ran out of memory") as caught:
        async for _ in turns.run(work):
            pass
    assert "max_tokens" in caught.value.hint
    await turns.close()


def test_loading_shows_what_the_engine_does_and_the_memory_of_the_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The GPU is one of an nvidia-smi that reports 500 MiB more each time."""
    program, count = tmp_path / "nvidia-smi", tmp_path / "count"
    count.write_text("0")
    program.write_text(
        f'#!/bin/sh\nn=$(cat {count}); echo $((n + 500)) >{count}\necho "0, GPU-1, NVIDIA L4, 24000, $((23000 - n))"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(loading, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(loading, "GPU_LOOK_SECONDS", 0.0)
    details: list[str] = []

    def report(_stage: str, _fraction: float | None = None, detail: str = "", /) -> None:
        details.append(detail)

    with loading.watched(report, "loading m", 1_000_000, lambda: "reading the weights"):
        while len(details) < 3:
            time.sleep(0.01)
    assert details[1].startswith("reading the weights; ")
    assert "524 MB on the GPU, 1 MB on disk" in details[1]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    details.clear()
    with loading.watched(report, "loading m", 1_000_000):
        while len(details) < 2:
            time.sleep(0.01)
    assert details[1].endswith(" MB in memory, 1 MB on disk")
