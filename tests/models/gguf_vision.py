"""A small vision model: SmolLM2, and beside it an mmproj that turns an image's colours into words that it knows.

The vision tower has one block of zeros, which passes patches through unchanged: a patch's values are its mean red,
green and blue. The projector gives for each the embedding of that word, so that to the language model a red image
is the word "red", once for each patch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.models import cached
from tests.models.smollm2 import smollm2_gguf

COLOURS = (" red", " green", " blue")
SIZE = 32
"""Pixels of a side."""
PATCH = 16
PATCHES = (SIZE // PATCH) ** 2
WIDTH = 32
"""Numbers that the tower holds of a patch; only the first three are used."""


def mmproj() -> Path:
    """Return the projector's file, made for SmolLM2."""
    return cached("gguf-vision", _make) / "mmproj.gguf"


def _make(folder: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(folder / "mmproj.gguf", "clip")
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_clip_has_vision_encoder(value=True)
    writer.add_clip_projector_type("janus_pro")
    words = _words()
    writer.add_vision_projection_dim(words.shape[1])
    writer.add_vision_image_size(SIZE)
    writer.add_vision_patch_size(PATCH)
    writer.add_vision_embedding_length(WIDTH)
    writer.add_vision_feed_forward_length(WIDTH)
    writer.add_vision_block_count(1)
    writer.add_vision_head_count(1)
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_image_mean([0.0, 0.0, 0.0])
    writer.add_vision_image_std([1.0, 1.0, 1.0])
    writer.add_vision_use_gelu(value=True)
    for name, values in (_tower() | _projector(words)).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _words() -> Any:
    """Return the language model's own embeddings of the colours' words."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(smollm2_gguf())
    field = reader.fields["tokenizer.ggml.tokens"]
    tokens = [bytes(field.parts[at]).decode() for at in field.data]
    table = next(tensor for tensor in reader.tensors if tensor.name == "token_embd.weight")
    rows = [tokens.index(word.replace(" ", "Ġ")) for word in COLOURS]
    return np.stack([gguf.quants.dequantize(table.data[row], table.tensor_type) for row in rows]).astype(np.float32)


def _tower() -> dict[str, Any]:
    import numpy as np

    patch = np.zeros((WIDTH, 3, PATCH, PATCH), dtype=np.float32)
    for channel in range(3):
        patch[channel, channel] = 1 / PATCH**2
    square, line = np.zeros((WIDTH, WIDTH), dtype=np.float32), np.zeros(WIDTH, dtype=np.float32)
    block = {f"{name}.weight": square for name in ("attn_q", "attn_k", "attn_v", "attn_out", "ffn_up", "ffn_down")}
    norms = {f"{name}.{part}": line for name in ("ln1", "ln2") for part in ("weight", "bias")}
    return {
        "v.patch_embd.weight": patch,
        "v.patch_embd.bias": line,
        "v.position_embd.weight": np.zeros((PATCHES, WIDTH), dtype=np.float32),
        **{f"v.blk.0.{name}": values for name, values in (block | norms).items()},
    }


def _projector(words: Any) -> dict[str, Any]:
    """Return the two layers from a patch to a word: a step between them leaves out what is darker than half."""
    import numpy as np

    steep = 20.0  # so that GELU is a step: 0 below half of full colour, `steep` / 2 at full
    first = np.zeros((WIDTH, WIDTH), dtype=np.float32)
    second = np.zeros((words.shape[1], WIDTH), dtype=np.float32)
    for channel in range(3):
        first[channel, channel] = steep
        second[:, channel] = words[channel] / (steep / 2)
    bias = np.zeros(WIDTH, dtype=np.float32)
    bias[:3] = -steep / 2
    return {
        "mm.0.weight": first,
        "mm.0.bias": bias,
        "mm.1.weight": second,
        "mm.1.bias": np.zeros(words.shape[1], dtype=np.float32),
    }
