"""What vLLM writes while it starts, in words. The lines are its own."""

from __future__ import annotations

import pytest

from byzer_magic.backends.local.vllm import progress

HEAD = "(EngineCore pid=7) INFO 11-26 21:02:04 "
LOG = [
    ("[core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: model='/m', compilation_config={...}", "start"),
    ("[cpu_worker.py:120] auto thread-binding: reserved_cpus=[], world_size=1", "start"),
    ("[gpu_model_runner.py:5039] Starting to load model /m...", "weights"),
    ("\rLoading safetensors checkpoint shards:  50% Completed | 1/2 [00:01<00:01,  1.1s/it]", "weights"),
    ("[default_loader.py:321] Loading weights took 3.20 seconds", "memory of a prompt"),
    ("[gpu_model_runner.py:5149] Model loading took 3.43 GiB memory and 3.911 seconds", "memory of a prompt"),
    ("[backends.py:960] Dynamo bytecode transform time: 4.91 s", "compiling"),
    ("[monitor.py:20] torch.compile took 11.20 s in total", "compiling"),
    ("[gpu_worker.py:759] Available KV cache memory: 120.1 GiB", "KV cache"),
    ("[kv_cache_utils.py:2328] GPU KV cache size: 655,000 tokens", "KV cache"),
    ("\rCapturing CUDA graphs (mixed prefill-decode, PIECEWISE):  10%|=      | 1/10", "CUDA graphs"),
    ("[core.py:385] init engine (profile, create kv cache, warmup model) took 21.15 s", "chat templates"),
    ("[other.py:1] something without a meaning here", "chat templates"),
]


def test_stage_is_in_words_at_each_moment() -> None:
    assert "start" in progress.stage("")
    output = ""
    for line, word in LOG:
        output += f"{HEAD}{line}\n"
        assert word in progress.stage(output), line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Free memory on device cuda:0 (60.25/139.81 GiB) on startup is less than desired GPU memory utilization "
         "(0.9, 125.83 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
         "gpu_memory_utilization=0.41"),
        ("Free memory on device cuda:0 (2.33/139.81 GiB) on startup is less than desired GPU memory utilization "
         "(0.9, 125.83 GiB).", "nvidia-smi"),
        ("To serve at least one request with the model's max seq len (28000), (5.13 GiB KV cache is needed, which is "
         "larger than the available KV cache memory (4.1 GiB). Based on the available memory, the estimated maximum "
         "model length is 22384. Try increasing `gpu_memory_utilization`", "max_model_len=22384"),
        ("To serve at least one request with the model's max seq len (28000), (5.13 GiB KV cache is needed, which is "
         "larger than the available KV cache memory (0.0 GiB). Try increasing", "Lower backend.max_model_len"),
        ("No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the "
         "engine", "no room for the KV cache"),
        ("Total number of attention heads (16) must be divisible by tensor parallel size (3).", "divides"),
        ("Engine core initialization failed.", ""),
    ],
)  # fmt: skip
def test_hint_has_the_next_step_of_a_refusal(text: str, words: str) -> None:
    found = progress.hint(text)
    assert words in found
    assert bool(words) == bool(found)
