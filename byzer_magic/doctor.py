"""What is installed, what is free, what a model would need: rows for tables, and nothing heavy imported."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Any

from byzer_magic import model_folders
from byzer_magic.backends import registry
from byzer_magic.backends.base import Info
from byzer_magic.backends.weights import choose, estimate, files, hardware, packages
from byzer_magic.backends.weights.estimate import Estimate
from byzer_magic.backends.weights.hardware import Gpu, Hardware
from byzer_magic.backends.weights.packages import Package
from byzer_magic.errors import ByzerError

Row = dict[str, Any]


def engines(machine: Hardware) -> list[Row]:
    """Return one row per engine and family of local models."""
    found = registry.installed()
    return [_engine(name, backend.info, found[name], machine) for name, backend in registry.local().items()]


def _engine(name: str, info: Info, found: tuple[Package, ...], machine: Hardware) -> Row:
    whole = packages.usable({name: found}).get(name, ())
    places = sorted({place for package in whole for place in package.here(machine)})
    missing = sorted({need for package in found for need in package.missing})
    return {
        "engine": f"--infer_backend {name}" if "/" not in name else name,
        "installed": ", ".join(f"{package.name} {package.version}" for package in found) or "no",
        "can": " ".join(sorted(info.capabilities)),
        "here": " and ".join(places),
        "to install": "" if whole else f"pip install {' '.join(missing) or repr(f'byzer-magic[{info.extra}]')}",
    }


def machine_rows(machine: Hardware, room: dict[str, tuple[float, float]] | None) -> list[Row]:
    """Return what the machine has and what is free; `room` is that of a Ray which runs."""
    disk = shutil.disk_usage(Path.home())
    cluster = ", ".join(f"{free:g} of {total:g} {name}s free" for name, (free, total) in (room or {}).items())
    ray = "".join(package.version for package in packages.find(["ray"]))
    facts = {
        "CPU": f"{machine.cpus} cores ({machine.machine}), load {machine.load:.1f}",
        "memory": f"{size(machine.memory_free)} of {size(machine.memory_total)} free",
        "GPU": "; ".join(map(_gpu, machine.gpus)) or "none",
        "disk (home)": f"{size(disk.free)} free",
        "Python": platform.python_version(),
        "Ray": f"{ray}, {cluster or 'not running here'}",
    }
    return [{"what": name, "here": text} for name, text in facts.items()]


def _gpu(gpu: Gpu) -> str:
    if gpu.memory_free is None or gpu.memory_total is None:
        return gpu.name
    return f"{gpu.name}, {size(gpu.memory_free)} of {size(gpu.memory_total)} free"


def size(number: float) -> str:
    """Return bytes as people read them."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def model_rows(model_path: str, machine: Hardware) -> list[Row]:
    """Return what a model's files say, what runs it here, and whether it fits.

    Raises:
        BadParameter: nothing is there that is known as a model.
    """
    weights = files.look(model_path)
    facts = {
        "path": str(weights.path),
        "form": f"{weights.form}{f', {weights.architecture}' if weights.architecture else ''}",
        "parameters": f"{weights.parameters / 1e6:,.0f} million" if weights.parameters else "unknown",
        "dtype": weights.dtype or "unknown",
        "on disk": f"{size(weights.size)} in {len(weights.files)} file{'s'[: len(weights.files) != 1]}",
        "context": f"{weights.context:,} tokens" if weights.context else "unknown",
    }
    try:
        choice = choose.engine(weights, machine, packages.usable(registry.installed()))
    except ByzerError as err:
        facts["engine"] = f"none: {err.message} {err.hint}"
        return [{"what": name, "model": text} for name, text in facts.items()]
    facts["engine"] = f"{choice.name}, because {choice.why}"
    need = estimate.memory(weights, choice.name, machine)
    cache = f" + cache of {need.tokens:,} tokens {size(need.cache)}" if need.cache else ""
    facts["memory"] = f"about {size(need.total)}: weights {size(need.weights)}{cache} + engine {size(need.overhead)}"
    facts["fits"] = fits(choice.name, machine, need)
    return [{"what": name, "model": text} for name, text in facts.items()]


def fits(engine: str, machine: Hardware, need: Estimate) -> str:
    """Return whether a model fits into what is free, and if not, what would make it fit."""
    free = machine.gpu_memory_free if need.gpu else machine.memory_free
    where = "GPU memory" if need.gpu else "memory"
    if free is None:
        return "unknown: nothing here tells how much memory the GPU has"
    if need.total <= free:
        return f"yes: {size(free)} of {where} are free"
    if tokens := need.context_within(free):
        setting = "n_ctx" if engine == "llama_cpp" else "backend.max_model_len"
        return f"no: {size(free)} of {where} are free; with {setting}={tokens} it would"
    return f"no: {size(free)} of {where} are free; take a quantized or smaller model, or undeploy something"


def model_list(folder: str | None, environ: dict[str, str], machine: Hardware) -> list[Row]:
    """Return one row for each local model."""
    where = [files.existing(folder).absolute()] if folder else model_folders.folders(environ)
    usable = packages.usable(registry.installed())
    return [_listed(found) for found in model_folders.find(where, machine, usable)]


def _listed(found: model_folders.Found) -> Row:
    weights = found.weights
    return {
        "name": _name(found.path),
        "form": weights.form if weights else "",
        "runs on": found.engine or "-",
        "parameters": f"{weights.parameters / 1e6:,.0f} M" if weights and weights.parameters else "",
        "dtype": weights.dtype if weights else "",
        "size": size(weights.size) if weights else "",
        "path": _short(found.path),
        "trouble": found.trouble,
    }


def _name(path: Path) -> str:
    """Return a model's name; Hugging Face's cache puts it into a folder two levels above the snapshot."""
    hub = next((part for part in path.parts if part.startswith("models--")), "")
    return hub.removeprefix("models--").replace("--", "/") if hub else path.stem if path.is_file() else path.name


def _short(path: Path) -> str:
    home = str(Path.home())
    text = str(path)
    return f"~{text[len(home) :]}" if text.startswith(f"{home}/") else text


def look() -> Hardware:
    """Return the machine as it is now."""
    return hardware.look()
