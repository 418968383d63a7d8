"""What vLLM writes while it starts, in words: what it is doing, and what to do when it refuses to start."""

from __future__ import annotations

import re

from byzer_magic.i18n import lazy_gettext as _

_STAGES = (
    (r"Initializing a V1 LLM engine|rank \d+ in world size", _("starting its processes")),
    (r"Starting to load model|Loading \w+ checkpoint|Loading weights on", _("reading the weights")),
    (r"Loading weights took|Model loading took|Encoder cache will be", _("measuring the memory of a prompt")),
    (r"Dynamo bytecode|[Cc]ompiling|torch\.compile|Warming up model", _("compiling the model")),
    (r"Available KV cache memory|KV cache size", _("reserving the KV cache")),
    (r"Capturing CUDA graphs|Profiling CUDA graph", _("capturing CUDA graphs")),
    (r"init engine \(profile", _("preparing chat templates and tools")),
)
"""Words in vLLM's log, and what it does from then on; in every version from 0.26 to 0.33."""


def stage(output: str) -> str:
    """Return what vLLM is doing, given what it has written so far.

    Example:
        >>> str(stage("INFO 11-26 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: ..."))
        'starting its processes'
    """
    last, words = -1, _STAGES[0][1]
    for pattern, text in _STAGES:
        for match in re.finditer(pattern, output):
            if match.start() > last:
                last, words = match.start(), text
    return words


_TOO_LITTLE_FREE = re.compile(
    r"\((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup is less than desired \w+ memory utilization"
)
_CACHE_TOO_SMALL = re.compile(r"GiB KV cache is needed.*?(?:estimated maximum model length is (?P<tokens>\d+)|$)")
_NO_CACHE = re.compile(r"No available memory for the cache blocks")
_TOO_LONG = re.compile(r"is greater than the derived max_model_len \((?:\w+=)?(?P<most>\d+)")
_INDIVISIBLE = re.compile(r"must be divisible by tensor parallel size")
SPARE = 0.02
"""Part of a GPU's memory that a proposed share leaves free: others may take a little more meanwhile."""
LEAST_SHARE = 0.05
"""A share below this is of no use."""


def hint(text: str) -> str:
    """Return the next step for a sentence with which vLLM refuses to start; empty for others.

    Example:
        >>> text = "max_model_len (99) is greater than the derived max_model_len (max_position_embeddings=32 or ...)"
        >>> str(hint(text))
        'Use backend.max_model_len=32 or less.'
    """
    if found := _TOO_LITTLE_FREE.search(text):
        share = int((float(found["free"]) / float(found["total"]) - SPARE) * 100) / 100
        if share < LEAST_SHARE:
            return _("Undeploy or end what uses the memory; `nvidia-smi` shows which processes use a GPU.")
        return _("Undeploy or end what uses the memory, or add backend.gpu_memory_utilization={share}.", share=share)
    if found := _CACHE_TOO_SMALL.search(text):
        if tokens := found["tokens"]:
            return _(
                "Add backend.max_model_len={tokens} or less, raise backend.gpu_memory_utilization, or reserve more "
                "GPUs (--gpus_per_worker).",
                tokens=tokens,
            )
        return _("Lower backend.max_model_len, raise backend.gpu_memory_utilization, or reserve more GPUs.")
    if _NO_CACHE.search(text):
        return _(
            "The weights leave no room for the KV cache: raise backend.gpu_memory_utilization, reserve more GPUs "
            "(--gpus_per_worker), or use a smaller or quantized model."
        )
    if found := _TOO_LONG.search(text):
        return _("Use backend.max_model_len={most} or less.", most=found["most"])
    if _INDIVISIBLE.search(text):
        return _("Choose a --gpus_per_worker that divides the number of attention heads.")
    return ""
