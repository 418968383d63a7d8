"""What the files of a model say, read without loading it and without any engine.

Safetensors: https://github.com/huggingface/safetensors#format. GGUF: see `byzer_magic.local_models.gguf`.
"""

from __future__ import annotations

import difflib
import json
import math
import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from byzer_magic.errors import BadParameter
from byzer_magic.local_models import gguf

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tokenizer_config.json")
"""Files of which one must be there; the last alone serves tokenizers that are code."""
LARGEST_HEADER = 100 * 1024 * 1024
"""Bytes of a safetensors header; the format's own limit."""
_CONTEXT = ("max_position_embeddings", "n_positions", "seq_length")
"""What configurations call the tokens that a model was made for."""
_POINTER = b"version"
"""How Git LFS's pointers start: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md#the-pointer"""
_PICKLED = ("pytorch_model*.bin", "model.pt", "model.bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A model as its files describe it."""

    path: Path
    form: str
    """`gguf`, `transformers`, `sentence-transformers`, `reranker`, `whisper`, `ctranslate2`, `funasr` or `piper`."""
    architecture: str = ""
    """The class or family that its configuration names (`LlamaForCausalLM`, `llama`)."""
    size: int = 0
    """Bytes of its weights on disk."""
    parameters: int | None = None
    dtype: str = ""
    """The data type of most of its weights."""
    context: int | None = None
    """Tokens that it was made for."""
    files: tuple[Path, ...] = ()
    """The files with weights."""
    config: dict[str, Any] = field(default_factory=dict, repr=False)
    """Its config.json (or what stands for it)."""


def look(model_path: str | None) -> Weights:
    """Return what lies at `--model_path`: a file, or a folder with one model.

    Raises:
        BadParameter: nothing is there, or nothing that is known as a model; damaged and missing files are named.
    """
    path = Path(model_path or "")
    try:
        path = existing(model_path)
        return _look(path)
    except OSError as err:
        where = err.filename or path
        raise BadParameter(f"{where} cannot be read: {err.strerror or err}.", "Check its permissions.") from err
    except (LookupError, TypeError, AttributeError, ValueError) as err:  # JSON of another shape than models have
        raise BadParameter(
            f"{path} has a configuration that is not a model's ({type(err).__name__}: {err}).",
            "Download the model again.",
        ) from err


def _look(path: Path) -> Weights:
    if path.is_file():
        return _file(path)
    _refuse_parts(path)
    if (path / "config.json").is_file() and not _only_gguf(path):
        return _folder(path)
    if (path / "config.yaml").is_file() and (path / "model.pt").is_file():
        return Weights(path=path, form="funasr", architecture=_yaml_model(path), **_sizes([path / "model.pt"]))
    if any(path.glob("*.gguf")):
        return _file(gguf.find(str(path)))
    voices = [item for item in path.glob("*.onnx") if item.with_name(f"{item.name}.json").is_file()]
    if voices:
        return Weights(path=path, form="piper", **_sizes(voices[:1]))
    names = ", ".join(sorted(item.name for item in path.iterdir())[:8]) or "nothing"
    raise BadParameter(
        f"{path} holds no model that is known: no config.json, no .gguf (there is {names}).",
        "Give the folder that holds the model's config.json, or the path of a .gguf file.",
    )


def _only_gguf(path: Path) -> bool:
    """Return whether a folder's weights are in GGUF files alone: some come with the configuration of the original."""
    others = (pattern for pattern in ("*.safetensors", *_PICKLED) if any(path.glob(pattern)))
    return any(path.glob("*.gguf")) and next(others, None) is None


def _refuse_parts(path: Path) -> None:
    """Refuse folders that hold no model of their own."""
    if (path / "model_index.json").is_file():
        kind = read_json(path / "model_index.json").get("_class_name") or "DiffusionPipeline"
        raise BadParameter(
            f"{path} is a model that makes pictures ({kind}), for which there is no engine here.",
            "Give a model for chat, embeddings or speech; pictures come from saas/ models (presets lists some).",
        )
    if (path / "adapter_config.json").is_file() and not any(path.glob("model*.safetensors")):
        base = read_json(path / "adapter_config.json").get("base_model_name_or_path") or "its base model"
        raise BadParameter(
            f"{path} is an adapter (LoRA), not a whole model.",
            f"Deploy {base} as --model_path, with --infer_backend transformers --infer_params adapter={path}",
        )


def existing(model_path: str | None) -> Path:
    """Return the path when something is there.

    Raises:
        BadParameter: it is not; the nearest name is in the hint.
    """
    if not model_path:
        raise BadParameter("A local model needs --model_path.", "Give the folder, or the .gguf file, of the model.")
    path = Path(model_path).expanduser()
    if not path.exists():
        raise BadParameter(f"Nothing is at {path}.", near(path))
    return snapshot(path)


def snapshot(path: Path) -> Path:
    """Return the folder with the files, given that of a repository in Hugging Face's cache; others as they are."""
    kept = path / "snapshots"
    if not kept.is_dir():
        return path
    main = path / "refs" / "main"
    if main.is_file() and (found := kept / main.read_text(encoding="utf-8").strip()).is_dir():
        return found
    every = sorted(kept.iterdir())
    return every[0] if len(every) == 1 else path


def near(path: Path) -> str:
    """Return the hint for a path that does not exist: the nearest one that does."""
    folder = next((item for item in path.parents if item.is_dir()), Path())
    if folder != path.parent:
        return f"The folder {folder} exists, but not {path.relative_to(folder).parts[0]} in it."
    names = sorted(item.name for item in folder.iterdir())
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"Did you mean {folder / close[0]}?" if close else f"In {folder} there is: {', '.join(names[:5])}."


def need_tokenizer(weights: Weights) -> None:
    """Check that a folder has a tokenizer.

    Raises:
        BadParameter: it has none.
    """
    if not any((weights.path / name).is_file() for name in TOKENIZERS):
        raise BadParameter(
            f"{weights.path} has no tokenizer (none of {', '.join(TOKENIZERS[:5])}).",
            "Copy the tokenizer's files into the folder, or download the model again.",
        )


def _file(path: Path) -> Weights:
    if path.suffix == ".onnx":
        return Weights(path=path, form="piper", **_sizes([path]))
    if path.suffix == ".safetensors":
        raise BadParameter(
            f"{path} is one file of a model.", f"Give the folder that holds its config.json: {path.parent}"
        )
    file = gguf.find(str(path))
    facts = gguf.facts(file)
    return Weights(path=file, form="gguf", **facts)


def _folder(path: Path) -> Weights:
    config = read_json(path / "config.json")
    form, architecture = _form(path, config)
    inner = config.get("text_config") or {}  # of a model that sees, too
    context = next((part[name] for part in (config, inner) for name in _CONTEXT if part.get(name)), None)
    tensors = _tensors(path, config)
    return Weights(path=path, form=form, architecture=architecture, config=config, context=context, **tensors)


def _form(path: Path, config: dict[str, Any]) -> tuple[str, str]:
    architecture = next(iter(config.get("architectures") or []), "")
    if "alignment_heads" in config and (path / "model.bin").is_file() and not architecture:
        return "ctranslate2", "Whisper"
    if config.get("model_type") == "whisper":
        return "whisper", architecture
    if architecture.endswith("ForSequenceClassification") and _labels(config) == 1:
        return "reranker", architecture
    if (path / "modules.json").is_file():
        return "sentence-transformers", architecture
    if config.get("model_type") in ("bert", "xlm-roberta", "roberta", "mpnet") and architecture.endswith("Model"):
        return "sentence-transformers", architecture
    return "transformers", architecture


def _labels(config: dict[str, Any]) -> int:
    """Return the classes that a model tells apart; transformers leaves out of a configuration that they are two."""
    return len(config.get("id2label") or ()) or int(config.get("num_labels") or 2)


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON file of a model.

    Raises:
        BadParameter: it is no JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as err:
        raise BadParameter(f"{path} cannot be read: {err}.", "Download the model again.") from err
    if not isinstance(found, dict):
        raise BadParameter(f"{path} is not a JSON object.", "Download the model again.")
    return found


def _tensors(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return the size, the parameters and the data type of a folder's weights."""
    index = path / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(read_json(index).get("weight_map", {}).values()))
        missing = [name for name in names if not (path / name).is_file()]
        if missing:
            raise BadParameter(
                f"{path} lacks {len(missing)} of {len(names)} files with weights: {', '.join(missing[:3])}.",
                "Download them again.",
            )
        return _safetensors([path / name for name in names])
    if files := sorted(path.glob("*.safetensors")):
        return _safetensors(files)
    files = [file for pattern in _PICKLED for file in sorted(path.glob(pattern))]
    if not files:
        names_there = ", ".join(sorted(item.name for item in path.iterdir())[:8])
        raise BadParameter(
            f"{path} holds no weights: no .safetensors, no pytorch_model.bin (there is {names_there}).",
            "Download the model again; a folder of Git LFS pointers is not enough.",
        )
    for file in files:
        with file.open("rb") as stream:
            _refuse_pointer(file, stream.read(len(_POINTER)))
    return _sizes(files) | {"dtype": str(config.get("dtype") or config.get("torch_dtype") or "")}


def _refuse_pointer(file: Path, start: bytes) -> None:
    if start.startswith(_POINTER):
        raise BadParameter(f"{file} is a Git LFS pointer, not the weights.", "Run git lfs pull, or download it.")


def _sizes(files: Iterable[Path]) -> dict[str, Any]:
    files = tuple(files)
    return {"files": files, "size": sum(file.stat().st_size for file in files)}


def _safetensors(files: list[Path]) -> dict[str, Any]:
    count: Counter[str] = Counter()
    for file in files:
        for tensor in safetensors_header(file).values():
            count[tensor["dtype"]] += math.prod(tensor["shape"])
    dtype = count.most_common(1)[0][0] if count else ""
    return {**_sizes(files), "parameters": sum(count.values()), "dtype": dtype}


def safetensors_header(file: Path) -> dict[str, Any]:
    """Return the description of each tensor in a safetensors file.

    Raises:
        BadParameter: the file is none, or it is not whole.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        _refuse_pointer(file, start)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 0 < length < min(LARGEST_HEADER, size):
            raise BadParameter(f"{file} is not a whole safetensors file ({size:,} bytes).", "Download it again.")
        try:
            header: dict[str, Any] = json.loads(stream.read(length))
            header.pop("__metadata__", None)
            end = 8 + length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        except (ValueError, LookupError, TypeError, AttributeError) as err:
            raise BadParameter(f"{file} has a damaged header.", "Download it again.") from err
    if end != size:
        raise BadParameter(f"{file} has {size:,} bytes, but its header describes {end:,}.", "Download it again.")
    return header


def _yaml_model(path: Path) -> str:
    import yaml

    try:
        found = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as err:
        raise BadParameter(f"{path / 'config.yaml'} cannot be read: {err}.", "Download the model again.") from err
    return str(found.get("model", "")) if isinstance(found, dict) else ""
