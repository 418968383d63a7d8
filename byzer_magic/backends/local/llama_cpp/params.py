"""The parameters of llama.cpp, as data: those of `llama_cpp.Llama`, and the request fields that a deployment may set.

https://llama-cpp-python.readthedocs.io/en/latest/api-reference/#llama_cpp.Llama
"""

from __future__ import annotations

from typing import Any

from byzer_magic.backends.base import Param

CONTEXT = 4096
"""Tokens of context when `n_ctx` is not given and the model can do at least as many."""
EMBED_CONTEXT = 2048
"""The same for embeddings: a text is read in one batch, whose memory grows with its length times the vocabulary."""
CONTEXT_UNIT = 256
"""llama.cpp rounds contexts up to a multiple of it, llama-cpp-python's own tables do not: ours are one already."""
BATCH = 512
"""Tokens of a prompt that are read at once when `n_batch` is not given: a cancel waits for the end of a batch."""

LOADING = {
    "n_gpu_layers": ("int", "layers that go to the GPU; -1 is all"),
    "split_mode": ("int", "how to split over GPUs: 0 not, 1 by layer, 2 by row"),
    "main_gpu": ("int", "the GPU that does what is not split"),
    "tensor_split": ("json", "share of each GPU, as a JSON list"),
    "vocab_only": ("bool", "load the vocabulary, no weights"),
    "use_mmap": ("bool", "map the file instead of reading it"),
    "use_mlock": ("bool", "keep the model from being swapped out"),
    "kv_overrides": ("json", "values for the model's own metadata, as a JSON object"),
    "seed": ("int", "seed of the random choice of words"),
    "n_ctx": (
        "int",
        f"tokens of context (default {CONTEXT}, of embeddings {EMBED_CONTEXT}, or the model's if that is less; "
        "0 is the model's)",
    ),
    "n_batch": ("int", f"tokens of a prompt that are read at once (default {BATCH}); a cancel waits for so many"),
    "n_ubatch": ("int", "tokens of a prompt that are computed at once"),
    "n_threads": ("int", "CPU threads (default --cpus_per_worker, or all cores when that is below 1)"),
    "n_threads_batch": ("int", "CPU threads for reading a prompt (default n_threads)"),
    "rope_scaling_type": ("int", "RoPE scaling: -1 the model's, 0 none, 1 linear, 2 YaRN"),
    "pooling_type": ("int", "pooling of embeddings: -1 the model's, or else mean; 1 mean, 2 cls, 3 last, 4 rerank"),
    "attention_type": ("int", "attention of embeddings: -1 the model's, 0 causal, 1 non-causal"),
    "rope_freq_base": ("float", "RoPE base frequency; 0 is the model's"),
    "rope_freq_scale": ("float", "RoPE frequency scale; 0 is the model's"),
    "yarn_ext_factor": ("float", "YaRN extrapolation mix; negative is the model's"),
    "yarn_attn_factor": ("float", "YaRN magnitude scale"),
    "yarn_beta_fast": ("float", "YaRN low correction dimension"),
    "yarn_beta_slow": ("float", "YaRN high correction dimension"),
    "yarn_orig_ctx": ("int", "context that the model was trained with, for YaRN"),
    "logits_all": ("bool", "keep the scores of all tokens (logprobs need it)"),
    "embedding": ("bool", "make embeddings instead of text (default: what the model was made for)"),
    "offload_kqv": ("bool", "keep the attention cache on the GPU"),
    "flash_attn": ("bool", "use flash attention"),
    "op_offload": ("bool", "let the GPU help with layers on the CPU"),
    "swa_full": ("bool", "keep the full cache of sliding-window attention"),
    "no_perf": ("bool", "take no timings"),
    "last_n_tokens_size": ("int", "how far back the penalty for repeating looks"),
    "lora_base": ("text", "model that the LoRA was made for"),
    "lora_scale": ("float", "strength of the LoRA"),
    "lora_path": ("text", "file of a LoRA adapter"),
    "numa": ("json", "NUMA strategy: true, false, or llama.cpp's number"),
    "chat_format": ("text", "chat format by name, instead of the model's own template"),
    "type_k": ("int", "data type of the K cache, llama.cpp's number"),
    "type_v": ("int", "data type of the V cache, llama.cpp's number"),
    "spm_infill": ("bool", "suffix before prefix in infilling"),
    "verbose": ("bool", "let llama.cpp write to the worker's log"),
}
"""The constructor parameters of `llama_cpp.Llama` that text can express (not its tokenizer, draft and chat objects)."""

_LARGE = 2**31 - 1
BOUNDS = {
    "split_mode": (0, 3),
    "main_gpu": (0, 1024),
    "n_gpu_layers": (-1, _LARGE),
    "seed": (-1, 2**32 - 1),
    "n_ctx": (0, _LARGE),
    "n_batch": (2, _LARGE),
    "n_ubatch": (1, _LARGE),
    "n_threads": (1, 512),
    "n_threads_batch": (1, 512),
    "rope_scaling_type": (-1, 3),
    "pooling_type": (-1, 4),
    "attention_type": (-1, 1),
    "yarn_orig_ctx": (0, _LARGE),
    "last_n_tokens_size": (0, _LARGE),
}
"""The least and the most that settings may be: beyond it llama.cpp ends the process, or does something else."""
CACHE_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 20: "IQ4_NL", 30: "BF16"}
"""What `type_k` and `type_v` may be."""

CHAT = {
    "temperature": ("float", "0 is always the likeliest word (default 0.8 with either driver)"),
    "top_p": ("float", "choose from the likeliest words that make up this share"),
    "top_k": ("int", "choose from this many words"),
    "min_p": ("float", "leave out words less likely than this share of the likeliest"),
    "typical_p": ("float", "locally typical sampling; 1 is off"),
    "max_tokens": ("int", "longest answer, in tokens"),
    "frequency_penalty": ("float", "against words that came often"),
    "presence_penalty": ("float", "against words that came at all"),
    "repeat_penalty": ("float", "against repeating; 1 is off"),
    "stop": ("text", "text, or a JSON list of texts, at which the answer ends"),
    "response_format": ("json", 'e.g. {"type": "json_object"}'),
}
"""Request fields that a deployment may set for all of its requests."""

_ALIASES = {"n_gpu_layers": ("num_gpu_layers",)}
_DEFAULTS: dict[str, Any] = {"n_gpu_layers": 0, "verbose": False, "temperature": 0.8}


PARAMS = tuple(
    Param(name=name, kind=kind, help=text, default=_DEFAULTS.get(name), aliases=_ALIASES.get(name, ()))
    for name, (kind, text) in (LOADING | CHAT).items()
)
