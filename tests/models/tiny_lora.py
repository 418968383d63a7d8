"""A LoRA adapter of the tiny Qwen2, with weights so large that every answer is another one."""

from __future__ import annotations

import json
from pathlib import Path

from tests.models import cached
from tests.models.tiny_qwen2 import tiny_qwen2

RANK = 8


def tiny_lora() -> Path:
    """Return a folder that PEFT and vLLM load as an adapter."""
    return cached("tiny-lora", make_lora)


def make_lora(folder: Path, seed: int = 1, width: int = 64) -> None:
    """Make an adapter in a folder; with another width, it is one of another model."""
    import torch
    from safetensors.torch import save_file

    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(tiny_qwen2()),
        "r": RANK,
        "lora_alpha": RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["q_proj", "v_proj"],
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.manual_seed(seed)
    weights = {}
    for layer in range(2):
        for module in config["target_modules"]:
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            weights[f"{name}.lora_A.weight"] = torch.randn(RANK, width)
            weights[f"{name}.lora_B.weight"] = torch.randn(width, RANK)
    save_file(weights, folder / "adapter_model.safetensors")
