"""Which files of a repository an engine needs: one format of the weights, and what belongs to it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from byzer_magic.errors import FetchError, nearest
from byzer_magic.i18n import Text, join, lazy_gettext as _, listed
from byzer_magic.local_models.hubs import quantizations
from byzer_magic.local_models.hubs.quantizations import Version, quantization
from byzer_magic.local_models.hubs.reference import Reference
from byzer_magic.local_models.memory import readable

FORMATS = (
    re.compile(r"(?:model|pytorch_model)(?:-\d{5}-of-\d{5})?\.safetensors"),
    re.compile(r"^(?!consolidated|adapter_).*\.safetensors"),
    re.compile(r"pytorch_model(?:-\d{5}-of-\d{5})?\.bin"),
    re.compile(r"model\.(?:bin|pt)"),
    re.compile(r"adapter_model\.(?:safetensors|bin)"),
    re.compile(r"^.*\.onnx"),
)
"""Names of files with weights in a repository's top folder: the first format that is there is fetched."""
COMPANIONS = (
    ".json", ".txt", ".model", ".jinja", ".tiktoken", ".py", ".yaml", ".yml", ".mvn", ".spm", ".bpe", ".vocab",
)  # fmt: skip
"""How the files end that belong to weights: configuration, tokenizer, code."""
_OF_OTHERS = re.compile(r"(?:tf_model|flax_model|openvino|quantize_config_|onnx|rust_model).*")
_MODULES = re.compile(r"\d+_\w+/[^/]+")
"""Files in the folders of an embedding model's further modules: `1_Pooling/config.json`."""
_SPLIT = re.compile(r"(.*)-\d{5}-of-(\d{5})\.(gguf|safetensors|bin)")
_ASIDE = ("mmproj", "imatrix")
"""GGUF files that are no language models."""
LARGEST_COMPANION = 200_000_000
"""Bytes; a text file beyond that is no companion of a model."""
LISTED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a repository."""

    path: str
    """Its path in the repository."""
    size: int = 0
    sha256: str = ""
    """Of its content, where the hub has it."""
    blob: str = ""
    """The hub's own name of its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is known about who will use the model."""

    gguf: bool = False
    """Whether the engine is one for GGUF files, so that these are taken where there are other formats, too."""
    only_gguf: bool = False
    """Whether it loads nothing else."""
    engine: str = ""
    """Its name, for errors."""
    free: int = 0
    """Bytes of memory that are free for the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The files to fetch."""

    files: tuple[File, ...]
    """All of them; those without which the others are no model come last."""
    main: str = ""
    """The path of the file to deploy; empty where it is the folder."""
    why: Text | str = ""
    """Why these, where that was not the only possibility."""

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(file.size for file in self.files)


def choose(reference: Reference, listing: Iterable[File], wish: Wish) -> Choice:
    """Return the files of a repository that a deployment needs.

    Args:
        reference: the repository, and what of it is meant.
        listing: all its files.
        wish: what is known about the engine and its machine.

    Raises:
        FetchError: there are none; the hint names what there is.

    Example:
        >>> files = [File(path=name) for name in ("config.json", "model.safetensors", "pytorch_model.bin", "a.png")]
        >>> [file.path for file in choose(Reference(hub="hf", repo="a/b"), files, Wish()).files]
        ['config.json', 'model.safetensors']
    """
    files = {file.path: file for file in listing}
    if reference.part:
        return _named(reference, files)
    versions = versions_of(files.values())
    folder = _folder(files)
    if versions and (wish.gguf or folder is None):
        return _quantized(reference, files, versions, wish)
    if wish.only_gguf:
        raise FetchError(
            _(
                "{reference} has no .gguf file, and {engine} loads nothing else.",
                reference=reference,
                engine=wish.engine,
            ),
            _("Leave --infer_backend out, or look for a repository whose name ends in GGUF."),
        )
    if folder is None:
        raise _no_model(reference, files)
    return folder


def versions_of(files: Iterable[File]) -> list[Version]:
    """Return the GGUF models among files, the smallest first."""
    parts: dict[str, list[File]] = defaultdict(list)
    for file in files:
        name = PurePosixPath(file.path).name.lower()
        if name.endswith(".gguf") and not any(word in name for word in _ASIDE):
            parts[_group(file.path)].append(file)
    found = [
        Version(files=tuple(sorted(file.path for file in group)), size=sum(file.size for file in group))
        for group in parts.values()
    ]
    return sorted(found, key=lambda version: (version.size, version.files))


def _group(path: str) -> str:
    """Return what the parts of a split model have in common; of another file its path."""
    split = _SPLIT.fullmatch(path)
    return f"{split[1]} of {split[2]}" if split else path


def is_complete(names: Iterable[str]) -> bool:
    """Return whether files in a folder are all weights of a model, as far as their names tell.

    Example:
        >>> is_complete(["model-00001-of-00002.safetensors"]), is_complete(["config.json", "model.safetensors"])
        (False, True)
    """
    there = set(names)
    weights = _weights(there)
    return bool(weights) and has_all_parts(weights, there)


def has_all_parts(names: Iterable[str], there: Collection[str]) -> bool:
    """Return whether of split models all parts are there.

    Args:
        names: of one or several parts.
        there: all files.
    """
    splits = [split for name in names if (split := _SPLIT.fullmatch(name))]
    return all(
        f"{split[1]}-{number:05}-of-{split[2]}.{split[3]}" in there
        for split in splits
        for number in range(1, int(split[2]) + 1)
    )


def _weights(names: Iterable[str]) -> list[str]:
    """Return the weights in the top folder, of one format."""
    top = sorted(name for name in names if "/" not in name)
    return next((found for form in FORMATS if (found := [name for name in top if form.fullmatch(name)])), [])


def _folder(files: dict[str, File]) -> Choice | None:
    """Return the files of a model that is a folder; None where there is none."""
    weights = _weights(files)
    if not weights:
        return None
    modules = "modules.json" in files
    beside = [
        file
        for path, file in sorted(files.items())
        if path not in weights and (_is_companion(path, file) or (modules and _MODULES.fullmatch(path)))
    ]
    return Choice(files=(*beside, *(files[name] for name in weights)))


def _is_companion(path: str, file: File) -> bool:
    name = PurePosixPath(path).name
    return (
        "/" not in path
        and name.endswith(COMPANIONS)
        and file.size <= LARGEST_COMPANION
        and not _OF_OTHERS.fullmatch(name)
        and not _is_index_of_others(name)
    )


def _is_index_of_others(name: str) -> bool:
    return name.endswith(".index.json") and not name.startswith(("model.", "pytorch_model."))


# ---- GGUF


def _quantized(reference: Reference, files: dict[str, File], versions: list[Version], wish: Wish) -> Choice:
    if len(versions) == 1:
        return _version(files, versions[0])
    found, why = quantizations.fitting(versions, wish.free)
    others = listed(
        _("{name} ({size})", name=version.name, size=readable(version.size)) for version in versions[:LISTED]
    )
    if found is None:
        raise FetchError(
            _("None of the {count} quantizations of {reference} fits: {why}.", count=len(versions), reference=reference,
              why=why),
            _("To download one anyway, name it, e.g. {example}; available: {others}.",
              example=reference.of(versions[0].name), others=others),
        )  # fmt: skip
    text = _(
        "{name} ({size}) of {count} quantizations, because {why}; to take another, name it, e.g. {example}",
        name=found.name, size=readable(found.size), count=len(versions), why=why,
        example=reference.of(next(one for one in versions if one is not found).name),
    )  # fmt: skip
    return _version(files, found, text)


def _version(files: dict[str, File], version: Version, why: Text | str = "") -> Choice:
    return Choice(files=tuple(files[path] for path in reversed(version.files)), main=version.files[0], why=why)


# ---- what the user names


def _named(reference: Reference, files: dict[str, File]) -> Choice:
    part = reference.part.strip("/")
    versions = versions_of(files.values())
    wanted = [version for version in versions if quantization(version.files[0]) == part.upper()]
    if len(wanted) == 1:
        return _version(files, wanted[0])
    if wanted:
        raise FetchError(
            _("{reference} is in several files.", reference=reference),
            _("Name one of them: {names}", names=listed(version.files[0] for version in wanted[:LISTED])),
        )
    same = [part] if part in files else [path for path in files if PurePosixPath(path).name == part]
    if len(same) != 1:
        raise _no_such(reference, files, versions, same)
    path = same[0]
    if PurePosixPath(path).suffix in (".safetensors", ".bin"):
        raise FetchError(
            _("{part} is only one file of a model.", part=part),
            _("Name the repository: {repository}", repository=reference.of("")),
        )
    if version := next((version for version in versions if path in version.files), None):
        return _version(files, version)
    beside = [files[name] for name in (f"{path}.json",) if name in files]  # the configuration of a voice of Piper
    return Choice(files=(*beside, files[path]), main=path)


def _no_such(reference: Reference, files: dict[str, File], versions: Sequence[Version], same: list[str]) -> FetchError:
    repository = reference.of("")
    if same:
        return FetchError(
            _("{repository} has several files named {part}.", repository=repository, part=reference.part),
            _("Name one of them: {names}", names=listed(sorted(same)[:LISTED])),
        )
    message = _("{repository} has no file {part}.", repository=repository, part=reference.part)
    known = [*files, *(quantization(version.files[0]) for version in versions)]
    if near := nearest(reference.part, [name for name in known if name]):
        return FetchError(message, _("Did you mean {name}?", name=reference.of(near)))
    if versions:
        return FetchError(message, _("It has: {names}.", names=listed(version.name for version in versions[:LISTED])))
    return FetchError(message, _("It has: {names}.", names=listed(sorted(files)[:LISTED]) or _("nothing")))


def _no_model(reference: Reference, files: dict[str, File]) -> FetchError:
    if "model_index.json" in files:
        return FetchError(
            _("{reference} is an image generation model, which no engine supports.", reference=reference),
            _("Use a model for chat, embeddings or speech; for images, use a saas/ model (see %byzer presets)."),
        )
    names = listed(sorted(files)[:LISTED]) or _("nothing")
    return FetchError(
        join(
            _("{reference} has no weights that an engine loads.", reference=reference),
            _("It has: {names}.", names=names),
        ),
        _("Look for a repository with .safetensors or .gguf files."),
    )


def is_weight(path: str) -> bool:
    """Return whether a file of a repository's top folder has weights; those of further modules are small.

    Example:
        >>> is_weight("model.safetensors"), is_weight("config.json"), is_weight("Q4_K_M/a.gguf")
        (True, False, True)
    """
    return path.endswith(".gguf") or bool(_weights([path]))
