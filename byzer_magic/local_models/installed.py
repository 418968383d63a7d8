"""Which engines are installed and what they were built for, found without importing any of them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from byzer_magic.local_models.engine_facts import CPU, GPU, Distribution, EngineFacts, EnginePackage, FileFormat
from byzer_magic.local_models.hardware import Hardware


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An installed package that can run models."""

    name: str
    """As pip calls it."""
    version: str = ""
    missing: tuple[str, ...] = ()
    """Companions without which it cannot work and that are not installed, as pip calls them."""
    devices: tuple[str, ...] = (CPU,)
    """What it was built for: `CPU`, `GPU` or both."""
    avx2: bool = False
    """Whether it needs AVX2 on x86 CPUs."""
    wanted: str = ""
    """Where this version does not work: what does, as pip takes it: `vllm>=0.26,<0.34`."""

    def runs_on(self, hardware: Hardware) -> tuple[str, ...]:
        """Return the devices of this machine that it can use: `CPU`, `GPU`, both or none."""
        cpu = CPU in self.devices and (hardware.has_avx2 or not self.avx2)
        return (CPU,) * cpu + (GPU,) * (GPU in self.devices and bool(hardware.gpus))


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine, and what is installed of it."""

    name: str
    """`llama_cpp`, `custom/whisper`."""
    facts: EngineFacts
    packages: tuple[Package, ...] = ()

    @property
    def usable(self) -> tuple[Package, ...]:
        """Return the packages that lack no companion, and whose version works."""
        return tuple(package for package in self.packages if not package.missing and not package.wanted)

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the companions that its packages lack, as pip calls them."""
        return tuple(sorted({need for package in self.packages for need in package.missing}))

    @property
    def wanted(self) -> tuple[str, ...]:
        """Return the versions to install in place of those that do not work, as pip takes them."""
        return tuple(package.wanted for package in self.packages if package.wanted)

    def runs_on(self, hardware: Hardware) -> tuple[str, ...]:
        """Return the devices of this machine that its usable packages can run on."""
        return tuple(sorted({device for package in self.usable for device in package.runs_on(hardware)}))


Engines = Mapping[str, Engine]
"""Every engine and family of local models, by name."""


def file_formats(engines: Engines) -> tuple[FileFormat, ...]:
    """Return the formats that only one engine loads."""
    return tuple(form for engine in engines.values() for form in engine.facts.own_formats)


def find(packages: Iterable[EnginePackage]) -> tuple[Package, ...]:
    """Return those of an engine's packages that are installed, in the same order."""
    return tuple(_package(facts, folder) for facts in packages if (folder := _folder(facts.module)) is not None)


def version(module: str) -> str:
    """Return the version of an installed package, given its import name; empty when it is not installed."""
    return _distribution(module, ())[1] if _folder(module) else ""


def _package(facts: EnginePackage, folder: Path) -> Package:
    name, version = _distribution(facts.module, facts.distributions)
    return Package(
        name=name,
        version=version,
        missing=tuple(_distribution(need, ())[0] for need in facts.companions if _folder(need) is None),
        devices=facts.devices(Distribution(name=name, version=version, folder=folder)),
        avx2=facts.avx2,
        wanted="" if _works(facts, version, folder) else f"{name}{_range(facts)}",
    )


def _works(facts: EnginePackage, version: str, folder: Path) -> bool:
    """Return whether an installed version is one that works: not too old, and with the files that are used."""
    if version and _numbers(version) < _numbers(facts.oldest):
        return False
    return all(any((folder / name).is_file() for name in row) for row in facts.files)


def _range(facts: EnginePackage) -> str:
    *before, last = _numbers(facts.newest)
    return f">={facts.oldest},<{'.'.join(map(str, (*before, last + 1)))}"


def _numbers(version: str) -> tuple[int, ...]:
    """Return a version's numbers, to compare them: (0, 26, 1) of 0.26.1rc2+cpu; () sorts before all."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _folder(module: str) -> Path | None:
    found = importlib.util.find_spec(module)
    return Path(found.origin).parent if found and found.origin else None


def _distribution(module: str, distributions: tuple[str, ...]) -> tuple[str, str]:
    """Return name and version of the first distribution that is installed."""
    from importlib import metadata

    names = distributions or (module.replace("_", "-"),)
    for name in names:
        try:
            return name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return names[0], ""
