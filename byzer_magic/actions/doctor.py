"""What is installed, what is free, what a model would need: plain data and rows; imports nothing heavy."""

from __future__ import annotations

import contextlib
import platform
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from byzer_magic.actions import model_search
from byzer_magic.backends import registry
from byzer_magic.backends.base import Info
from byzer_magic.errors import ByzerError
from byzer_magic.local_models import engine_choice, files, hardware, installed as installed_engines, memory
from byzer_magic.local_models.files import Weights
from byzer_magic.local_models.hardware import Hardware
from byzer_magic.local_models.installed import Package
from byzer_magic.local_models.memory import Estimate, readable

Row = dict[str, Any]
Room = Callable[[], dict[str, tuple[float, float]] | None]
"""Asks a Ray that runs how many CPUs and GPUs are free, and of how many; None where none runs."""

WIDTH = 100
"""Characters of a cell's line: a table fits into a terminal of 120."""
_INSTRUCTIONS = {"avx2": "AVX2", "avx512f": "AVX-512", "asimd": "NEON", "sve": "SVE"}


def report(model_path: str | None, room: Room) -> dict[str, Any]:
    """Return what is known of a model, or of the machine and its engines, as plain data.

    Raises:
        BadParameter: nothing is at the path that is known as a model.
    """
    here = hardware.look()
    if model_path:
        return {"model": model(model_path, here)}
    return {"machine": machine(here, room), "engines": engines(here)}


def machine(here: Hardware, room: Room) -> dict[str, Any]:
    """Return what the machine has and what is free."""
    disks = {}
    for path in (Path.home(), *model_search.shelves()):
        with contextlib.suppress(OSError):  # a home that is not there, a disk that has gone
            disks[str(path)] = shutil.disk_usage(path).free
    ray = next(iter(installed_engines.find(["ray"])), None)
    return {
        "cpus": here.cpus,
        "load": round(here.load, 2),
        "architecture": here.machine,
        "instructions": sorted(here.instructions),
        "memory_total": here.memory_total,
        "memory_free": here.memory_free,
        "gpus": [
            {"name": gpu.name, "memory_total": gpu.memory_total, "memory_free": gpu.memory_free} for gpu in here.gpus
        ],
        "disks_free": disks,
        "python": platform.python_version(),
        "ray": {"version": ray.version if ray else None, **_cluster(room)},
    }


def _cluster(room: Room) -> dict[str, Any]:
    try:
        found = room()
    except ByzerError as err:  # what is wrong with Ray is news, too
        return {"running": False, "trouble": err.message}
    if found is None:
        return {"running": False}
    return {"running": True, "free": {name: {"free": free, "total": total} for name, (free, total) in found.items()}}


def engines(here: Hardware) -> list[dict[str, Any]]:
    """Return what is known of each engine and family of local models."""
    found = registry.installed()
    return [_engine(name, backend.info, found[name], here) for name, backend in registry.local().items()]


def _engine(name: str, info: Info, found: tuple[Package, ...], here: Hardware) -> dict[str, Any]:
    whole = installed_engines.usable({name: found}).get(name, ())
    missing = sorted({need for package in found for need in package.missing})
    line = "" if whole else f"pip install {' '.join(missing) or repr(f'byzer-magic[{info.extra}]')}"
    return {
        "engine": name,
        "installed": {package.name: package.version for package in found},
        "can": sorted(info.capabilities),
        "runs_on": sorted({place for package in whole for place in package.here(here)}),
        "install": line,
    }


def model(model_path: str, here: Hardware) -> dict[str, Any]:
    """Return what a model's files say, what runs it here, and whether it fits.

    Raises:
        BadParameter: nothing is there that is known as a model.
    """
    weights = files.look(model_path)
    facts: dict[str, Any] = {
        "path": str(weights.path),
        "form": weights.form,
        "architecture": weights.architecture,
        "parameters": weights.parameters,
        "dtype": weights.dtype,
        "size": weights.size,
        "files": [path.name for path in weights.files],
        "context": weights.context,
    }
    installed = installed_engines.usable(registry.installed())
    try:
        choice = engine_choice.engine(weights, here, installed)
    except ByzerError as err:
        return facts | {"engine": None, "why": f"{err.message} {err.hint}"}
    need = memory.memory(weights, choice.name, here)
    facts |= {"engine": choice.name, "why": choice.why, "installed": choice.name in installed}
    return facts | {"memory": _memory(need), "free": _free(need, here)} | _fit(weights, need, here)


def _memory(need: Estimate) -> dict[str, Any]:
    return {
        "total": need.total,
        "weights": need.weights,
        "dtype": need.dtype,
        "cache": need.cache,
        "cache_tokens": need.tokens,
        "cache_answers": need.answers,
        "overhead": need.overhead,
        "on": "GPU" if need.gpu else "CPU",
    }


def _free(need: Estimate, here: Hardware) -> int | None:
    return here.gpu_memory_free if need.gpu else here.memory_free


def _fit(weights: Weights, need: Estimate, here: Hardware) -> dict[str, Any]:
    """Return whether it fits, and if not, what would make it fit."""
    free = _free(need, here)
    if free is None or need.total <= free:
        return {"fits": None if free is None else True, "to_fit": []}
    return {"fits": False, "to_fit": list(_advice(weights, need, free))}


def _advice(weights: Weights, need: Estimate, free: int) -> Iterator[str]:
    if tokens := need.context_within(free):
        setting = "n_ctx" if need.engine == "llama_cpp" else "backend.max_model_len"
        yield f"--infer_params {setting}={tokens}"
    elif need.engine == "vllm" and need.weights + memory.OVERHEAD["transformers"] < free:
        yield "--infer_backend transformers, which takes less beside the weights"
    bits = memory.quantized_to(weights, need, free)
    if bits:
        yield f"a version of it that is quantized to {bits} bits or fewer (GGUF, AWQ, GPTQ)"
    elif need.cache == 0 or need.context_within(free) is None:
        yield f"a smaller model, or {readable(need.total - free)} more: undeploy something"


# ---- rows


def tables(report: dict[str, Any]) -> list[list[Row]]:
    """Return the tables that show a report: of a model, or of the machine and its engines."""
    if "model" in report:
        return [_rows("model", _model_lines(report["model"]))]
    return [_rows("machine", _machine_lines(report["machine"])), [_engine_row(item) for item in report["engines"]]]


def _rows(title: str, lines: Iterable[tuple[str, str]]) -> list[Row]:
    """Return rows of name and text, long texts in several."""
    rows = []
    for name, text in lines:
        for at, part in enumerate(textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)):
            rows.append({title: "" if at else name, "": part})
    return rows


def _machine_lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    sets = [_INSTRUCTIONS[name] for name in facts["instructions"] if name in _INSTRUCTIONS]
    sets += ["bfloat16"] if {"avx512_bf16", "amx_bf16", "bf16"} & set(facts["instructions"]) else []
    yield "CPUs", f"{facts['cpus']}, load {facts['load']:.1f} ({', '.join([facts['architecture'], *sets])})"
    yield "memory", f"{readable(facts['memory_free'])} of {readable(facts['memory_total'])} free"
    yield "GPUs", "; ".join(map(_gpu, facts["gpus"])) or "none"
    for folder, free in facts["disks_free"].items():
        yield "disk", f"{readable(free)} free at {model_search.short(Path(folder))}"
    yield "Python", facts["python"]
    yield "Ray", f"{facts['ray']['version']}, {_ray(facts['ray'])}"


def _gpu(gpu: dict[str, Any]) -> str:
    if gpu["memory_free"] is None or gpu["memory_total"] is None:
        return str(gpu["name"])
    return f"{gpu['name']}, {readable(gpu['memory_free'])} of {readable(gpu['memory_total'])} free"


def _ray(facts: dict[str, Any]) -> str:
    if not facts["running"]:
        return str(facts.get("trouble", "not running here"))
    parts = facts["free"].items()
    return ", ".join(f"{part['free']:g} of {part['total']:g} {name}s free" for name, part in parts if part["total"])


def _engine_row(facts: dict[str, Any]) -> Row:
    return {
        "engine": facts["engine"],
        "installed": ", ".join(f"{name} {version}" for name, version in facts["installed"].items()) or "no",
        "runs on": ", ".join(facts["runs_on"]) or ("" if facts["install"] else "nothing here"),
        "can": " ".join(facts["can"]),
        "to install": facts["install"],
    }


def _model_lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "path", model_search.short(Path(facts["path"]))
    yield "form", ", ".join(filter(None, (facts["form"], facts["architecture"])))
    yield "parameters", f"{readable(facts['parameters'], '')} ({facts['dtype']})" if facts["parameters"] else "unknown"
    count = len(facts["files"])
    yield "on disk", f"{readable(facts['size'])} in {count} file{'s'[: count != 1]}: {', '.join(facts['files'][:3])}"
    yield "context", f"{facts['context']:,} tokens" if facts["context"] else "unknown"
    if facts["engine"] is None:
        yield "engine", f"none: {facts['why']}"
        return
    yield "engine", f"{facts['engine']}{'' if facts['installed'] else ' (not installed)'}, because {facts['why']}"
    memory = facts["memory"]
    yield "weights", f"{readable(memory['weights'])} as {memory['dtype'] or 'stored'}"
    if memory["cache"]:
        answers = f"{memory['cache_answers']} answers with " if memory["cache_answers"] > 1 else ""
        yield "KV cache", f"{readable(memory['cache'])} for {answers}a context of {memory['cache_tokens']:,} tokens"
    yield "overhead", f"{readable(memory['overhead'])} of the engine"
    where = "GPU memory" if memory["on"] == "GPU" else "memory"
    yield "in all", f"about {readable(memory['total'])} of {where} for each worker"
    free = "nothing here tells what is free" if facts["free"] is None else f"{readable(facts['free'])} is free"
    yield "fits", f"{ {True: 'yes', False: 'no', None: 'unknown'}[facts['fits']] }: {free}"
    for at, advice in enumerate(facts["to_fit"]):
        yield "" if at else "would fit", advice
