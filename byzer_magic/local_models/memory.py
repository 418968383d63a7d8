"""The memory that a model will need, estimated from its files and from the engine's measured facts.

Weights in the data type that the engine computes in, keys and values for a context, and the engine's own processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from byzer_magic.local_models.engine_facts import GPU, EngineFacts, MemoryFacts
from byzer_magic.local_models.files import Weights
from byzer_magic.local_models.hardware import Hardware
from byzer_magic.local_models.installed import Engine

GPU_OVERHEAD_BYTES = 1_000_000_000
"""Bytes on a GPU beside weights and cache: the driver's context and the layers' activations."""
BYTES = {"F64": 8, "F32": 4, "float32": 4, "F16": 2, "BF16": 2, "float16": 2, "bfloat16": 2, "I8": 1, "U8": 1}
"""Bytes of one number, by the names of safetensors and of torch."""
CONTEXT_STEP = 1024
"""A proposed context is a multiple of it."""
SHORTEST_CONTEXT = 512
"""Tokens below which a context is of no use."""

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
    least_cache: int = 0
    """Bytes that the cache takes at least."""
    gpu: bool = False
    """Whether it is memory of the GPU."""
    gpus: int = 1
    """GPUs that share it."""
    taken: int = 0
    """Bytes that the engine takes of these GPUs whatever the model needs; 0: it takes what it needs."""
    share: float = 0.0
    """The part of them that this is."""

    @property
    def total(self) -> int:
        """Return the bytes of all parts together."""
        return self.weights + self.cache + self.overhead

    @property
    def takes(self) -> int:
        """Return the bytes that will be in use."""
        return max(self.total, self.taken)

    @property
    def cached_tokens(self) -> int:
        """Return the tokens that the cache has room for in all, where the engine fills what it takes with it."""
        room = self.taken - self.weights - self.overhead
        return max(0, room // self.per_token) if self.per_token else 0

    def context_within(self, free: int) -> int | None:
        """Return the tokens of context with which it fits in `free` bytes, or None when no shorter context helps."""
        room = free - self.weights - self.overhead
        if not self.per_token or room < self.least_cache:
            return None
        tokens = room // self.per_token // CONTEXT_STEP * CONTEXT_STEP or SHORTEST_CONTEXT
        return tokens if tokens < self.tokens and tokens * self.per_token <= room else None


def estimate(
    weights: Weights,
    engine: Engine,
    hardware: Hardware,
    tokens: int | None = None,
    *,
    gpus: float | None = None,
    share: float | None = None,
) -> Estimate:
    """Return the memory that one worker needs for a model.

    Args:
        weights: the model.
        engine: the engine that runs it.
        hardware: what the worker can use.
        tokens: the context; None is the engine's default.
        gpus: GPUs that are reserved for it, if any; None is as many as the model needs.
        share: the part of a GPU that an engine takes which always takes a part; None is its default.
    """
    facts = engine.facts.memory
    gpu = bool(hardware.gpus) and facts.gpu and (not engine.usable or GPU in engine.runs_on(hardware))
    dtype, size = _loaded(weights, engine.facts, gpu=gpu, fast_bfloat16=hardware.fast_bfloat16)
    overhead = facts.format_overhead_bytes.get(weights.format, facts.overhead_bytes)
    found = Estimate(
        engine=engine.name,
        weights=size,
        cache=0,
        overhead=(GPU_OVERHEAD_BYTES if gpu else overhead) + _prompt_buffers(weights.config, facts),
        dtype=dtype,
        gpu=gpu,
    )
    each = per_token(weights.config, BYTES.get(facts.cache_dtype or dtype, 2))
    if not facts.cache or weights.format == "sentence-transformers" or _encodes(weights.config) or not each:
        return _with_share(found, facts, hardware, gpus, share)
    context = tokens or _context(weights, facts, gpu=gpu)
    answers = 1 if gpu else facts.answers_on_cpu
    each *= answers
    least = facts.least_cache_bytes * answers
    cache = max(least, each * context)
    found = replace(found, cache=cache, tokens=context, answers=answers, per_token=each, least_cache=least)
    return _with_share(found, facts, hardware, gpus, share)


def _with_share(
    need: Estimate, facts: MemoryFacts, hardware: Hardware, gpus: float | None, share: float | None
) -> Estimate:
    """Return the estimate for an engine that takes its part of the GPUs' memory, whatever the model needs."""
    sizes = [gpu.memory_total or 0 for gpu in hardware.gpus]
    if not (need.gpu and facts.gpu_share and all(sizes)):
        return need
    part = share or facts.gpu_share * min(1.0, gpus or 1.0)
    enough = (count for count in range(1, len(sizes) + 1) if need.total <= part * sum(sizes[:count]))
    count = math.ceil(gpus) if gpus else next(enough, len(sizes))
    return replace(need, gpus=count, share=part, taken=int(part * sum(sizes[:count])))


def per_token(config: dict[str, Any], element: int) -> int:
    """Return the bytes of keys and values for one token, in all layers; 0 where the configuration does not specify it.

    It is the most that there can be: layers that look back over a window, or keep a state instead, take less.
    """
    text = config.get("text_config") or config.get("llm_config") or config
    layers, heads, width = (_number(text, names) for names in (_LAYERS, _HEADS, _WIDTH))
    if not layers or not heads or not width:
        return 0
    if rank := text.get("kv_lora_rank"):  # latent attention caches one low-rank vector instead
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
    """Return a number of bytes (or of something else) in a readable unit: 98 MB, 1.5 GB, 135 M."""
    for size, letter in ((10**9, "G" if unit else "B"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            amount = number / size
            return f"{amount:.1f} {letter}{unit}" if amount < 10 and size > 10**6 else f"{amount:.0f} {letter}{unit}"
    return f"{number:.0f} {unit}".strip()


def _prompt_buffers(config: dict[str, Any], facts: MemoryFacts) -> int:
    """Return the bytes to compute a batch of the prompt: some float32 rows of both widths for each token."""
    batch = facts.embed_batch if _encodes(config) else facts.prompt_batch
    return batch * BYTES["F32"] * (4 * _number(config, _WIDTH) + 2 * _number(config, _INNER_WIDTH))


def _encodes(config: dict[str, Any]) -> bool:
    """Return whether a GGUF file is for embeddings: it reads a text at once, and keeps nothing."""
    family = str(config.get("general.architecture"))
    return "bert" in family or bool(config.get(f"{family}.pooling_type"))


def parameters(weights: Weights) -> int:
    """Return the number of parameters, guessed from the bytes where the files do not specify it."""
    return weights.parameters or weights.size // BYTES.get(weights.dtype, 4)


def _loaded(weights: Weights, engine: EngineFacts, *, gpu: bool, fast_bfloat16: bool) -> tuple[str, int]:
    """Return the data type that weights have in memory, and their bytes there."""
    facts = engine.memory
    own = weights.format in (form.name for form in engine.own_formats)
    if own or (weights.format == "gguf" and not facts.unpacks) or "quantization_config" in weights.config:
        return weights.dtype, weights.size
    count = parameters(weights)
    stored = _plain_name(weights.dtype)
    if weights.format == "gguf":
        return ("float16", count * 2) if gpu else ("float32", count * 4)
    if not gpu and (facts.float32_on_cpu or not fast_bfloat16):
        return "float32", count * 4
    if gpu and facts.gpu_dtype and stored == "float32":
        return facts.gpu_dtype, count * BYTES[facts.gpu_dtype]
    if facts.narrows_float32 and stored == "float32":
        return "bfloat16", count * 2
    return stored, count * BYTES.get(stored, 4)


def _plain_name(dtype: str) -> str:
    return {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "": "float32"}.get(dtype, dtype)


def _context(weights: Weights, facts: MemoryFacts, *, gpu: bool) -> int:
    longest = weights.context or facts.context
    if gpu and facts.full_context_on_gpu:
        return longest
    return -(-min(facts.context, longest) // facts.context_unit) * facts.context_unit


def _number(config: dict[str, Any], names: Iterable[str]) -> int:
    """Return the first of these entries that is a number; GGUF files put the architecture before the name."""
    family = config.get("general.architecture")
    for name in names:
        value = config.get(f"{family}.{name}") if family else config.get(name)
        if isinstance(value, int):
            return value
    return 0
