"""How much memory a model will need, reckoned from what its files say; engines' own shares were measured.

Weights in the data type that the engine computes in, keys and values for a context, and what the engine itself takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from byzer_magic.backends.local.llama_cpp.params import BATCH, CONTEXT, CONTEXT_UNIT, EMBED_CONTEXT
from byzer_magic.backends.local.vllm.engine import CPU_CONTEXT, FULL_ANSWERS
from byzer_magic.local_models.files import Weights
from byzer_magic.local_models.hardware import Hardware

MB = 10**6
OVERHEAD = {
    "llama_cpp": 200 * MB, "vllm": 2900 * MB, "transformers": 660 * MB, "deepspeed": 900 * MB,
    "custom/bge": 660 * MB, "custom/bge_rerank": 660 * MB, "custom/whisper": 800 * MB, "custom/sensevoice": 800 * MB,
    "custom/piper": 200 * MB,
}  # fmt: skip
"""Bytes of an engine's processes beside weights and cache, Ray's part of them included."""
CTRANSLATE2 = 220 * MB
"""The same for a Whisper that needs no torch."""
ON_GPU = 1000 * MB
"""Bytes on a GPU beside weights and cache: the driver's context, and numbers on their way through the layers."""
LEAST_CACHE = 64 * 1024**2
BYTES = {"F64": 8, "F32": 4, "float32": 4, "F16": 2, "BF16": 2, "float16": 2, "bfloat16": 2, "I8": 1, "U8": 1}
"""Bytes of one number, by the names of safetensors and of torch."""
ROUNDED = 1024
"""A context that is proposed is a multiple of it."""
SHORTEST = 512
"""Tokens below which a context is of no use."""
ENCODER_FORMS = ("sentence-transformers", "reranker", "whisper", "ctranslate2", "funasr", "piper")
"""Forms of models that keep nothing between tokens, or too little to count."""

_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "block_count")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "attention.head_count")
_CACHED_HEADS = ("num_key_value_heads", "multi_query_group_num", "n_head_kv", "attention.head_count_kv")
_WIDTH = ("hidden_size", "n_embd", "d_model", "embedding_length")
_INNER_WIDTH = ("intermediate_size", "feed_forward_length")
_HEAD_SIZE = ("head_dim", "kv_channels", "attention.key_length")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Bytes that one worker will take, and their parts."""

    engine: str
    weights: int
    cache: int
    overhead: int
    dtype: str = ""
    """The data type of the weights in memory."""
    tokens: int = 0
    """The context that the cache is for."""
    answers: int = 1
    """Answers of that length that it has room for."""
    per_token: int = 0
    """Bytes of the cache that one more token of context takes."""
    gpu: bool = False
    """Whether it is the GPU's memory that it takes."""

    @property
    def total(self) -> int:
        """Return all of it."""
        return self.weights + self.cache + self.overhead

    def context_within(self, free: int) -> int | None:
        """Return the tokens of context with which it would fit, or None where no shorter context helps."""
        room = free - self.weights - self.overhead
        if not self.per_token or room < (LEAST_CACHE * self.answers if self.engine == "vllm" else 0):
            return None
        tokens = room // self.per_token // ROUNDED * ROUNDED or SHORTEST
        return tokens if tokens < self.tokens and tokens * self.per_token <= room else None


def memory(weights: Weights, engine: str, hardware: Hardware, tokens: int | None = None) -> Estimate:
    """Return what a model takes in an engine (`llama_cpp`, `custom/whisper`, ...) on this hardware.

    `tokens` are those of the context; without them, what the engine takes when nothing is said.
    """
    gpu = bool(hardware.gpus) and engine != "custom/piper"
    dtype, size = _loaded(weights, engine, gpu=gpu, fast_bfloat16=hardware.fast_bfloat16)
    overhead = ON_GPU if gpu else CTRANSLATE2 if weights.form == "ctranslate2" else OVERHEAD[engine]
    found = Estimate(engine=engine, weights=size, cache=0, overhead=overhead, dtype=dtype, gpu=gpu)
    if engine == "llama_cpp":
        found = replace(found, overhead=overhead + _prompt_buffers(weights.config))
    each = per_token(weights.config, _cache_bytes(engine, dtype))
    if weights.form in ENCODER_FORMS or engine.startswith("custom/") or _encodes(weights.config) or not each:
        return found
    context = tokens or _context(weights, engine, gpu=gpu)
    answers = FULL_ANSWERS if engine == "vllm" and not gpu else 1
    each *= answers
    least = LEAST_CACHE * answers if engine == "vllm" else 0
    return replace(found, cache=max(least, each * context), tokens=context, answers=answers, per_token=each)


def per_token(config: dict[str, Any], element: int) -> int:
    """Return the bytes of keys and values for one token, in all layers; 0 where the configuration does not tell.

    It is the most that there can be: layers that look back over a window, or keep a state instead, take less.
    """
    text = config.get("text_config") or config.get("llm_config") or config
    layers, heads, width = (_number(text, names) for names in (_LAYERS, _HEADS, _WIDTH))
    if not layers or not heads or not width:
        return 0
    if rank := text.get("kv_lora_rank"):  # latent attention keeps one short vector instead
        return int(layers * (rank + text.get("qk_rope_head_dim", 0)) * element)
    size = _number(text, _HEAD_SIZE) or width // heads
    return 2 * layers * (_number(text, _CACHED_HEADS) or heads) * size * element


def quantized_to(weights: Weights, need: Estimate, free: int) -> int | None:
    """Return the bits per parameter (8 or 4) with which the model would fit, or None."""
    for bits in (8, 4):
        size = parameters(weights) * bits // 8
        if size < need.weights and size + need.cache + need.overhead <= free:
            return bits
    return None


def readable(number: float, unit: str = "B") -> str:
    """Return a number of bytes (or of something else) as people read it: 98 MB, 1.5 GB, 135 M."""
    for size, letter in ((10**9, "G" if unit else "B"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            amount = number / size
            return f"{amount:.1f} {letter}{unit}" if amount < 10 and size > 10**6 else f"{amount:.0f} {letter}{unit}"
    return f"{number:.0f} {unit}".strip()


def _prompt_buffers(config: dict[str, Any]) -> int:
    """Return the bytes that llama.cpp needs to read a batch of the prompt: some rows of both widths for each token."""
    batch = EMBED_CONTEXT if _encodes(config) else BATCH
    return batch * 4 * (4 * _number(config, _WIDTH) + 2 * _number(config, _INNER_WIDTH))


def _encodes(config: dict[str, Any]) -> bool:
    """Return whether a GGUF file is for embeddings: it reads a text at once, and keeps nothing."""
    family = str(config.get("general.architecture"))
    return "bert" in family or bool(config.get(f"{family}.pooling_type"))


def parameters(weights: Weights) -> int:
    """Return the number of parameters, guessed from the bytes where the files do not tell."""
    return weights.parameters or weights.size // BYTES.get(weights.dtype, 4)


def _loaded(weights: Weights, engine: str, *, gpu: bool, fast_bfloat16: bool) -> tuple[str, int]:
    """Return the data type that weights have in memory, and their bytes there."""
    as_stored = weights.form in ("gguf", "piper") and engine not in ("transformers", "deepspeed")
    if as_stored or "quantization_config" in weights.config:
        return weights.dtype, weights.size
    count = parameters(weights)
    stored = _plain_name(weights.dtype)
    if weights.form == "gguf":  # transformers unpacks it
        return ("float16", count * 2) if gpu else ("float32", count * 4)
    if not gpu and (engine.startswith("custom/") or not fast_bfloat16):
        return "float32", count * 4
    if engine == "vllm" and stored == "float32":  # it halves float32 by itself
        return "bfloat16", count * 2
    return stored, count * BYTES.get(stored, 4)


def _plain_name(dtype: str) -> str:
    return {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "": "float32"}.get(dtype, dtype)


def _cache_bytes(engine: str, dtype: str) -> int:
    """Return the bytes of one number in the cache: llama.cpp keeps halves, the others the type they compute in."""
    return 2 if engine == "llama_cpp" else BYTES.get(dtype, 2)


def _context(weights: Weights, engine: str, *, gpu: bool) -> int:
    longest = weights.context or CONTEXT
    if engine == "llama_cpp":
        return -(-min(CONTEXT, longest) // CONTEXT_UNIT) * CONTEXT_UNIT  # rounded up as llama.cpp does
    return longest if gpu and engine == "vllm" else min(CPU_CONTEXT, longest)


def _number(config: dict[str, Any], names: Iterable[str]) -> int:
    """Return the first of these entries that is a number; GGUF files put the architecture before the name."""
    family = config.get("general.architecture")
    for name in names:
        value = config.get(f"{family}.{name}") if family else config.get(name)
        if isinstance(value, int):
            return value
    return 0
