"""The tiny Qwen2 as GGUF, its matrices in 8 bits: read in an instant, where SmolLM2's file takes transformers 20 s."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.models import cached
from tests.models.tiny_qwen2 import CONTEXT, TEMPLATE, tiny_qwen2


def qwen2_gguf() -> Path:
    """Return the file."""
    return cached("gguf-qwen2", _make) / "tiny.Q8_0.gguf"


def expected() -> dict[str, Any]:
    """Return the weights that its reader must find, by the names that transformers has for them."""
    import gguf
    import torch

    kinds = {tensor.name: tensor.tensor_type for tensor in gguf.GGUFReader(qwen2_gguf()).tensors}
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, _config()["num_hidden_layers"])
    found = {}
    for name, values in _weights().items():
        kind = kinds[_name(names, name)]
        found[name] = torch.from_numpy(gguf.dequantize(gguf.quantize(values, kind), kind))
    return found


def _make(folder: Path) -> None:
    import gguf

    config = _config()
    writer = gguf.GGUFWriter(folder / "tiny.Q8_0.gguf", "qwen2")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    _write_tokens(writer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config["num_hidden_layers"])
    for name, values in _weights().items():
        kind = gguf.GGMLQuantizationType.Q8_0 if values.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(_name(names, name), gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_tokens(writer: Any) -> None:
    import gguf

    source = json.loads((tiny_qwen2() / "tokenizer.json").read_text())
    special = {token["content"] for token in source["added_tokens"]}
    tokens = sorted(source["model"]["vocab"], key=source["model"]["vocab"].__getitem__)
    kinds = [gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in source["model"]["merges"]])
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_pad_token_id(tokens.index("<|endoftext|>"))
    writer.add_chat_template(TEMPLATE)


def _config() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tiny_qwen2() / "config.json").read_text())
    return found


def _weights() -> dict[str, Any]:
    from safetensors.numpy import load_file

    return dict(load_file(tiny_qwen2() / "model.safetensors"))


def _name(names: Any, name: str) -> str:
    stem, _, part = name.rpartition(".")
    return f"{names.get_name(stem)}.{part}"
