"""What an engine declares about itself: formats, packages, memory. Plain data, a field of its `Info`.

With these facts an engine is chosen, found among the installed packages and estimated without being imported.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CPU, GPU = "CPU", "GPU"
MB = 10**6
HEADLESS = "headless"
"""Denotes, in `EngineFacts.auto`, folders of transformers whose network has no head: it makes embeddings."""
_TORCH_GPU = re.compile(r"^(?:cuda|hip)\b[^=\n]*= *['\"]", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """An installed package."""

    name: str
    """As pip calls it."""
    version: str
    folder: Path
    """Where its code is."""


def on_cpu(_: Distribution) -> tuple[str, ...]:
    """Return the devices of a package that runs on CPUs only."""
    return (CPU,)


def on_both(_: Distribution) -> tuple[str, ...]:
    """Return the devices of a package whose one build runs on CPUs and GPUs."""
    return (CPU, GPU)


def as_torch(_: Distribution) -> tuple[str, ...]:
    """Return the devices of a package that runs wherever the installed torch does.

    torch/version.py assigns None to `cuda` and `hip` in builds without them.
    """
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        return (CPU,)
    version = Path(torch.origin).with_name("version.py").read_text(encoding="utf-8")
    return (CPU, GPU) if _TORCH_GPU.search(version) else (CPU,)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePackage:
    """A package that can run an engine's models."""

    module: str
    """Its import name."""
    distributions: tuple[str, ...] = ()
    """Its names on PyPI, where they differ from the import name by more than dashes; the first that is installed."""
    companions: tuple[str, ...] = ()
    """Import names of what it needs and its own requirements leave to the user."""
    devices: Callable[[Distribution], tuple[str, ...]] = on_cpu
    """Returns what an installed build runs on: `CPU`, `GPU` or both."""
    avx2: bool = False
    """Whether it needs AVX2 on x86 CPUs."""
    oldest: str = ""
    """The oldest version that works; empty where any does."""
    newest: str = ""
    """The latest version that is known to have `files`."""
    files: tuple[tuple[str, ...], ...] = ()
    """Files of the package that are used, for packages that move theirs: of each row, one must exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFormat:
    """A format of model files that no other engine shares; formats that several engines load are in `files`."""

    name: str
    pattern: str
    """Glob of the file with the weights: `*.onnx`."""
    title: str
    """With its article, for sentences: `a Piper voice`."""
    companion: str = ""
    """Suffix of a file that must be beside it: `.json` for voice.onnx.json."""

    def matches(self, path: Path) -> bool:
        """Return whether a file has this format's name."""
        return path.match(self.pattern)

    def complete(self, path: Path) -> bool:
        """Return whether it also has its companion beside it."""
        return self.matches(path) and (not self.companion or path.with_name(path.name + self.companion).is_file())


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFacts:
    """How an engine uses memory; the defaults are those of an engine that computes as transformers does."""

    overhead_bytes: int
    """Bytes of its processes beside weights and cache, Ray's part of them included; measured."""
    format_overhead_bytes: Mapping[str, int] = field(default_factory=dict)
    """The same for formats that another package of the engine runs."""
    gpu: bool = True
    """Whether the estimate is of the GPU's memory where there is a GPU."""
    unpacks: bool = False
    """Whether quantized GGUF weights are unpacked to float16 or float32."""
    float32_on_cpu: bool = False
    """Whether weights are float32 on every CPU; else bfloat16 stays where the CPU multiplies it itself."""
    gpu_dtype: str = ""
    """Data type on a GPU of weights that are stored as float32; empty: the same."""
    narrows_float32: bool = False
    """Whether stored float32 becomes bfloat16."""
    cache: bool = True
    """Whether keys and values are kept between tokens."""
    cache_dtype: str = ""
    """Data type of the cache; empty: that of the weights."""
    least_cache_bytes: int = 0
    context: int = 4096
    """Tokens of context when the user gives none and the model supports more."""
    context_unit: int = 1
    """Contexts are rounded up to a multiple of it."""
    gpu_share: float = 0.0
    """Part of a GPU's memory that it takes, whatever the model needs; 0: it takes what it needs."""
    share_param: str = ""
    """The parameter that sets this part."""
    full_context_on_gpu: bool = False
    """Whether the default on a GPU is the model's own context."""
    answers_on_cpu: int = 1
    """Answers of full length that the cache on a CPU has room for."""
    prompt_batch: int = 0
    """Tokens of a prompt that are computed at once in buffers of their own; 0: the overhead includes them."""
    embed_batch: int = 0
    """The same for embedding models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What must be known of an engine to choose it, find its packages and estimate its memory.

    Example:
        >>> acme = EngineFacts(
        ...     packages=(EnginePackage(module="acme_runtime"),),
        ...     formats=("acme",),
        ...     auto={"acme": 10},
        ...     own_formats=(FileFormat(name="acme", pattern="*.acme", title="an Acme model"),),
        ...     memory=MemoryFacts(overhead_bytes=50 * MB),
        ... )
        >>> acme.own_formats[0].matches(Path("/models/tiny.acme"))
        True
    """

    packages: tuple[EnginePackage, ...]
    """One of them must be installed; the first that is runs the models."""
    formats: tuple[str, ...]
    """Formats that it loads: names of `files.FORMATS`, or its own."""
    memory: MemoryFacts
    auto: Mapping[str, int] = field(default_factory=dict)
    """Formats for which `--infer_backend auto` may choose it, with its rank: the lowest that fits wins."""
    own_formats: tuple[FileFormat, ...] = ()
    context_param: str = ""
    """The parameter that sets the tokens of context."""
    gpu_params: tuple[str, ...] = ()
    """Parameters that ask for a GPU by any value other than 0 and false; those named `device` are known."""
