"""The parameters of llama.cpp, as data: those of `llama_cpp.Llama`, and the request fields that a deployment may set.

https://llama-cpp-python.readthedocs.io/en/latest/api-reference/#llama_cpp.Llama
"""

from __future__ import annotations

from typing import Any

from byzer_magic.backends.base import Param
from byzer_magic.i18n import lazy_gettext as _

CONTEXT = 4096
"""Tokens of context when `n_ctx` is not given and the model can do at least as many."""
EMBED_CONTEXT = 2048
"""The same for embeddings: a text is read in one batch, whose memory grows with its length times the vocabulary."""
CONTEXT_UNIT = 256
"""llama.cpp rounds contexts up to a multiple of it, llama-cpp-python's own tables do not: ours are one already."""
BATCH = 512
"""Tokens of a prompt that are read at once when `n_batch` is not given: a cancel waits for the end of a batch."""

LOADING = {
    "n_gpu_layers": ("int", _("layers on the GPU; -1 is all (default: all when the worker has a GPU, else 0)")),
    "split_mode": ("int", _("how to split the model over GPUs: 0 none, 1 by layer, 2 by row")),
    "main_gpu": ("int", _("the GPU for everything that is not split")),
    "tensor_split": ("json", _("share of each GPU, as a JSON list")),
    "vocab_only": ("bool", _("load the vocabulary only, no weights")),
    "use_mmap": ("bool", _("map the file into memory instead of reading it")),
    "use_mlock": ("bool", _("lock the model in memory")),
    "kv_overrides": ("json", _("overrides of the model's metadata, as a JSON object")),
    "seed": ("int", _("seed for sampling")),
    "n_ctx": (
        "int",
        _(
            "context length in tokens (default {context}, for embeddings {embed_context}, or the model's if that "
            "is less; 0 is the model's)",
            context=CONTEXT,
            embed_context=EMBED_CONTEXT,
        ),
    ),
    "n_batch": (
        "int",
        _(
            "tokens of a prompt that are processed at once (default {batch}); a cancellation waits for one batch",
            batch=BATCH,
        ),
    ),
    "n_ubatch": ("int", _("tokens of a prompt in one physical batch")),
    "n_threads": ("int", _("CPU threads (default --cpus_per_worker, or all cores when that is below 1)")),
    "n_threads_batch": ("int", _("CPU threads for processing a prompt (default n_threads)")),
    "rope_scaling_type": ("int", _("RoPE scaling: -1 the model's, 0 none, 1 linear, 2 YaRN")),
    "pooling_type": ("int", _("pooling of embeddings: -1 the model's, else mean; 1 mean, 2 cls, 3 last, 4 rerank")),
    "attention_type": ("int", _("attention of embeddings: -1 the model's, 0 causal, 1 non-causal")),
    "rope_freq_base": ("float", _("RoPE base frequency; 0 is the model's")),
    "rope_freq_scale": ("float", _("RoPE frequency scale; 0 is the model's")),
    "yarn_ext_factor": ("float", _("YaRN extrapolation mix; negative is the model's")),
    "yarn_attn_factor": ("float", _("YaRN magnitude scale")),
    "yarn_beta_fast": ("float", _("YaRN low correction dimension")),
    "yarn_beta_slow": ("float", _("YaRN high correction dimension")),
    "yarn_orig_ctx": ("int", _("original context length of the model, for YaRN")),
    "logits_all": ("bool", _("keep the logits of all tokens (logprobs need it)")),
    "embedding": ("bool", _("compute embeddings instead of text (default: depends on the model)")),
    "offload_kqv": ("bool", _("keep the KV cache on the GPU")),
    "flash_attn": ("bool", _("use flash attention")),
    "op_offload": ("bool", _("let the GPU compute operations of layers on the CPU")),
    "swa_full": ("bool", _("keep the full KV cache of sliding-window attention")),
    "no_perf": ("bool", _("do not measure timings")),
    "last_n_tokens_size": ("int", _("number of recent tokens that the repetition penalty considers")),
    "lora_base": ("text", _("base model of the LoRA adapter")),
    "lora_scale": ("float", _("scale of the LoRA adapter")),
    "lora_path": ("text", _("file of a LoRA adapter")),
    "numa": ("json", _("NUMA strategy: true, false, or llama.cpp's number")),
    "chat_format": ("text", _("chat format by name, instead of the model's own template")),
    "type_k": ("int", _("data type of the K cache, llama.cpp's number")),
    "type_v": ("int", _("data type of the V cache, llama.cpp's number")),
    "spm_infill": ("bool", _("suffix before prefix in infilling")),
    "verbose": ("bool", _("let llama.cpp write to the worker's log")),
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
    "temperature": ("float", _("sampling temperature; 0 is greedy (default 0.8)")),
    "top_p": ("float", _("nucleus sampling: sample from the smallest set of tokens with this total probability")),
    "top_k": ("int", _("sample from this many of the most likely tokens")),
    "min_p": ("float", _("exclude tokens less likely than this fraction of the most likely token")),
    "typical_p": ("float", _("locally typical sampling; 1 is off")),
    "max_tokens": ("int", _("maximum length of the response, in tokens")),
    "frequency_penalty": ("float", _("penalty that grows with a token's count")),
    "presence_penalty": ("float", _("penalty for tokens that have appeared")),
    "repeat_penalty": ("float", _("repetition penalty; 1 is off")),
    "stop": ("text", _("text, or a JSON list of texts, at which generation stops")),
    "response_format": ("json", _('e.g. {"type": "json_object"}')),
}
"""Request fields that a deployment may set for all of its requests."""

_ALIASES = {"n_gpu_layers": ("num_gpu_layers",)}
_DEFAULTS: dict[str, Any] = {"verbose": False, "temperature": 0.8}


PARAMS = tuple(
    Param(name=name, kind=kind, help=text, default=_DEFAULTS.get(name), aliases=_ALIASES.get(name, ()))
    for name, (kind, text) in (LOADING | CHAT).items()
)
