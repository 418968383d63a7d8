"""Facts from a model's files, read without loading it and without any engine.

Safetensors: https://github.com/huggingface/safetensors#format. GGUF: see `byzer_magic.local_models.gguf`.
"""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from byzer_magic.errors import BadParameter
from byzer_magic.files import paths, plain_yaml, text_files
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.local_models import gguf
from byzer_magic.local_models.engine_facts import FileFormat
from byzer_magic.local_models.hubs.reference import is_in_hub, meant

FORMATS = {
    "gguf": _("a GGUF model"),
    "transformers": _("a Hugging Face folder"),
    "sentence-transformers": _("an embedding model"),
    "reranker": _("a reranker"),
    "whisper": _("a Whisper model"),
    "ctranslate2": _("a Whisper model for CTranslate2"),
    "funasr": _("a FunASR model"),
}
"""Formats that are recognized here, with their titles for sentences; engines add their own (`FileFormat`)."""
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tokenizer_config.json")
"""Files of which one must be there; the last alone serves tokenizers that are code."""
LARGEST_HEADER = 100 * 1024 * 1024
"""Bytes of a safetensors header; the format's own limit."""
_CONTEXT = ("max_position_embeddings", "n_positions", "seq_length")
"""Names of a model's context length in configurations, in tokens."""
_POINTER = b"version"
"""How Git LFS's pointers start: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md#the-pointer"""
_PICKLED = ("pytorch_model*.bin", "model.pt", "model.bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A model as its files describe it."""

    path: Path
    format: str
    """Its format: a name of `FORMATS`, or of a `FileFormat` of an engine."""
    architecture: str = ""
    """The class or family that its configuration names (`LlamaForCausalLM`, `llama`)."""
    size: int = 0
    """Bytes of its weights on disk."""
    parameters: int | None = None
    dtype: str = ""
    """The data type of most of its weights."""
    context: int | None = None
    """Tokens of its context length."""
    files: tuple[Path, ...] = ()
    """The files with weights."""
    config: dict[str, Any] = field(default_factory=dict, repr=False)
    """Its config.json (or its equivalent)."""


def inspect(model_path: str | None, own_formats: Iterable[FileFormat] = ()) -> Weights:
    """Return what is at `--model_path`: a file, or a folder with one model.

    Args:
        model_path: the path as the user gives it; `~` is expanded.
        own_formats: the formats of single engines, recognized besides `FORMATS`.

    Raises:
        BadParameter: the path does not exist or is not a recognized model; damaged and missing files are named.
    """
    path = Path(model_path or "")
    try:
        path = existing(model_path)
        return _inspect(path, tuple(own_formats))
    except OSError as err:
        raise BadParameter(
            _("{path} cannot be read: {reason}.", path=err.filename or path, reason=err.strerror or err),
            _("Check its permissions."),
        ) from err
    except (LookupError, TypeError, AttributeError, ValueError) as err:  # JSON with an unexpected structure
        error = f"{type(err).__name__}: {err}"
        raise BadParameter(
            _("{path} has an invalid model configuration ({error}).", path=path, error=error),
            _("Download the model again."),
        ) from err


def _inspect(path: Path, own_formats: tuple[FileFormat, ...]) -> Weights:
    if path.is_file():
        return _file(path, own_formats)
    _refuse_parts(path)
    if (path / "config.json").is_file() and not _only_gguf(path):
        return _folder(path)
    if (path / "config.yaml").is_file() and (path / "model.pt").is_file():
        kind = architecture(read_yaml(path / "config.yaml"))
        return Weights(path=path, format="funasr", architecture=kind, **_sizes([path / "model.pt"]))
    if any(path.glob("*.gguf")):
        return _file(gguf.find(str(path)))
    for item in sorted(path.iterdir()):
        for form in own_formats:
            if form.complete(item):
                return Weights(path=path, format=form.name, **_sizes([item]))
    names = listed(sorted(item.name for item in path.iterdir())[:8]) or _("nothing")
    raise BadParameter(
        _(
            "{path} is not a recognized model: it has no config.json and no .gguf file (it contains {names}).",
            path=path,
            names=names,
        ),
        _("Specify the folder that contains the model's config.json, or the path of a .gguf file."),
    )


def _only_gguf(path: Path) -> bool:
    """Return whether a folder's weights are in GGUF files alone: some come with the configuration of the original."""
    others = (pattern for pattern in ("*.safetensors", *_PICKLED) if any(path.glob(pattern)))
    return any(path.glob("*.gguf")) and next(others, None) is None


def _refuse_parts(path: Path) -> None:
    """Refuse folders without a complete model of their own."""
    if (path / "model_index.json").is_file():
        kind = read_json(path / "model_index.json").get("_class_name") or "DiffusionPipeline"
        raise BadParameter(
            _("{path} is an image generation model ({kind}), which no engine supports.", path=path, kind=kind),
            _("Use a model for chat, embeddings or speech; for images, use a saas/ model (see %byzer presets)."),
        )
    if (path / "adapter_config.json").is_file() and not any(path.glob("model*.safetensors")):
        base = read_json(path / "adapter_config.json").get("base_model_name_or_path") or _("its base model")
        raise BadParameter(
            _("{path} is an adapter (LoRA), not a complete model.", path=path),
            _("Deploy {base} as --model_path, with --infer_backend transformers --infer_params adapter={path}",
              base=base, path=path),
        )  # fmt: skip


def existing(model_path: str | None) -> Path:
    """Return the path when something is there; of a model in a hub, where it is in the hub's cache.

    Raises:
        BadParameter: nothing is there; the hint has the path that was probably meant.
        NotFetched: a model in a hub is not on this machine.
    """
    if not model_path:
        raise BadParameter(
            _("A local model needs --model_path."), _("Specify the folder of the model, or its .gguf file.")
        )
    if is_in_hub(model_path):
        from byzer_magic.local_models.hubs import cache  # which reads files with this module

        return cache.local(model_path)
    path = paths.expanded(model_path)
    if not paths.exists(path):
        message, hint = paths.why_missing(model_path)
        raise BadParameter(message, meant(model_path, hint))
    return snapshot(path)


def snapshot(path: Path) -> Path:
    """Return the folder with the files, given that of a repository in Hugging Face's cache; others as they are."""
    kept = path / "snapshots"
    if not kept.is_dir():
        return path
    main = path / "refs" / "main"
    if main.is_file() and (found := kept / main.read_text(encoding="utf-8", errors="replace").strip()).is_dir():
        return found
    every = sorted(kept.iterdir())
    return every[0] if len(every) == 1 else path


def need_tokenizer(weights: Weights) -> None:
    """Check that a folder has a tokenizer.

    Raises:
        BadParameter: it has none.
    """
    if not any((weights.path / name).is_file() for name in TOKENIZERS):
        raise BadParameter(
            _("{path} has no tokenizer (none of {names}).", path=weights.path, names=listed(TOKENIZERS[:5])),
            _("Copy the tokenizer's files into the folder, or download the model again."),
        )


def _file(path: Path, own_formats: tuple[FileFormat, ...] = ()) -> Weights:
    for form in own_formats:
        if form.matches(path):
            return Weights(path=path, format=form.name, **_sizes([path]))
    if path.suffix == ".safetensors":
        raise BadParameter(
            _("{path} is one file of a model.", path=path),
            _("Specify the folder that contains its config.json: {folder}", folder=path.parent),
        )
    if path.suffix != ".gguf" and not gguf.has_magic(path):
        raise BadParameter(
            _("{path} is not a recognized model file.", path=path),
            _("Specify the folder of the model, or its .gguf file."),
        )
    file = gguf.find(str(path))
    facts = gguf.facts(file)
    return Weights(path=file, format="gguf", **facts)


def _folder(path: Path) -> Weights:
    config = read_json(path / "config.json")
    form, architecture = _form(path, config)
    inner = config.get("text_config") or {}  # of a vision model
    context = next((part[name] for part in (config, inner) for name in _CONTEXT if part.get(name)), None)
    tensors = _tensors(path, config)
    return Weights(path=path, format=form, architecture=architecture, config=config, context=context, **tensors)


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
    """Return the number of a model's classes; transformers omits it from a configuration when there are two."""
    return len(config.get("id2label") or ()) or int(config.get("num_labels") or 2)


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON file of a model.

    Raises:
        BadParameter: it is not a JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as err:
        raise BadParameter(
            _("{path} cannot be read: {reason}.", path=path, reason=err), _("Download the model again.")
        ) from err
    if not isinstance(found, dict):
        raise BadParameter(_("{path} is not a JSON object.", path=path), _("Download the model again."))
    return found


def _tensors(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return the size, the parameters and the data type of a folder's weights."""
    index = path / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(read_json(index).get("weight_map", {}).values()))
        missing = [name for name in names if not (path / name).is_file()]
        if missing:
            raise BadParameter(
                _(
                    "{path} lacks {missing} of {total} weight files: {names}.",
                    path=path,
                    missing=len(missing),
                    total=len(names),
                    names=listed(missing[:3]),
                ),
                _("Download them again."),
            )
        return _safetensors([path / name for name in names])
    if files := sorted(path.glob("*.safetensors")):
        return _safetensors(files)
    files = [file for pattern in _PICKLED for file in sorted(path.glob(pattern))]
    if not files:
        names_there = listed(sorted(item.name for item in path.iterdir())[:8])
        raise BadParameter(
            _(
                "{path} contains no weights: it has no .safetensors file and no pytorch_model.bin (it contains "
                "{names}).",
                path=path,
                names=names_there,
            ),
            _("Download the model again; a folder of Git LFS pointers is not enough."),
        )
    for file in files:
        with file.open("rb") as stream:
            _refuse_pointer(file, stream.read(len(_POINTER)))
    return _sizes(files) | {"dtype": str(config.get("dtype") or config.get("torch_dtype") or "")}


def _refuse_pointer(file: Path, start: bytes) -> None:
    if start.startswith(_POINTER):
        raise BadParameter(
            _("{path} is a Git LFS pointer, not the weights.", path=file), _("Run git lfs pull, or download it.")
        )


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
    """Return the description of each tensor in a safetensors file, by name.

    Raises:
        BadParameter: it is not a safetensors file, or not a complete one.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        _refuse_pointer(file, start)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 0 < length < min(LARGEST_HEADER, size):
            raise BadParameter(
                _("{path} is not a complete safetensors file ({size:,} bytes).", path=file, size=size),
                _("Download it again."),
            )
        try:
            header: dict[str, Any] = json.loads(stream.read(length))
            header.pop("__metadata__", None)
            end = 8 + length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        except (ValueError, LookupError, TypeError, AttributeError) as err:
            raise BadParameter(_("{path} has a damaged header.", path=file), _("Download it again.")) from err
    if end != size:
        raise BadParameter(
            _("{path} is {size:,} bytes long, but its header describes {end:,}.", path=file, size=size, end=end),
            _("Download it again."),
        )
    return header


def read_yaml(path: Path) -> dict[str, Any]:
    """Return a YAML file of a model, with texts as values.

    Raises:
        BadParameter: it cannot be read, is not a mapping, or has what `plain_yaml` refuses.
    """
    content = text_files.read(path)
    try:
        found = plain_yaml.load(content.text) if not content.problem else {}
    except plain_yaml.UnreadableYaml as err:
        message = _("{path} cannot be read: {reason}.", path=path, reason=err)
        raise BadParameter(message, _("Download the model again.")) from err
    if content.problem:
        raise BadParameter(content.problem, _("Download the model again."))
    if not isinstance(found, dict):
        raise BadParameter(_("{file} is not a valid configuration file.", file=path), _("Download the model again."))
    return found


def architecture(config: dict[str, Any]) -> str:
    """Return what the configuration of a FunASR model says it is; empty where it does not."""
    found = config.get("model", "")
    return found if isinstance(found, str) else ""
