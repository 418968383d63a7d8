"""What is installed, what is free, what a model would need: plain data, and rows of tables; imports nothing heavy."""

from __future__ import annotations

import contextlib
import math
import platform
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byzer_magic.actions import model_search
from byzer_magic.backends import registry
from byzer_magic.backends.base import PREFIX, Info
from byzer_magic.errors import ByzerError
from byzer_magic.i18n import gettext as _, join, lazy_gettext, listed, localized, ngettext
from byzer_magic.local_models import engine_choice, files, hardware, installed, memory
from byzer_magic.local_models.files import Weights
from byzer_magic.local_models.hardware import Hardware
from byzer_magic.local_models.installed import Engine, Engines, file_formats
from byzer_magic.local_models.memory import Estimate, readable

Row = dict[str, Any]
FreeResources = Callable[[], dict[str, tuple[float, float]] | None]
"""Returns, of a running Ray, the free and all CPUs and GPUs; None when no Ray runs."""

SPARE = 0.02
"""Part of the free memory that advice leaves free: others may take a little more meanwhile."""
WIDTH = 100
"""Characters of a cell's line: a table fits into a terminal of 120."""
_INSTRUCTIONS = {"avx2": "AVX2", "avx512f": "AVX-512", "asimd": "NEON", "sve": "SVE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What a worker will have."""

    engine: str
    """The engine's name, or the family's type."""
    gpus: float
    params: Mapping[str, Any]

    def value(self, name: str) -> Any:
        """Return a parameter's value; engines know theirs with and without their prefix."""
        return self.params.get(name, self.params.get(name.removeprefix(PREFIX)))


def report(model_path: str | None, free_resources: FreeResources, worker: Worker | None = None) -> dict[str, Any]:
    """Return what is known of a model, or of the machine and its engines, as plain data.

    Args:
        model_path: the model; None reports on the machine.
        free_resources: asks the running Ray.
        worker: what a worker of the model will have; None is this machine, and the engine that fits it.

    Raises:
        BadParameter: there is no recognized model at the path.
    """
    here = hardware.detect()
    if model_path:
        return {"model": model(model_path, here, worker)}
    return {"machine": machine(here, free_resources), "engines": engines(here)}


def machine(here: Hardware, free_resources: FreeResources) -> dict[str, Any]:
    """Return what the machine has and what is free; memory and disks in bytes."""
    disks = {}
    for path in (Path.home(), *model_search.model_folders()):
        with contextlib.suppress(OSError):  # a home that does not exist, an unmounted disk
            disks[str(path)] = shutil.disk_usage(path).free
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
        "ray": {"version": installed.version("ray") or None, **_cluster(free_resources)},
    }


def _cluster(free_resources: FreeResources) -> dict[str, Any]:
    try:
        found = free_resources()
    except ByzerError as err:  # an error from Ray belongs in the report
        return {"running": False, "error": err.message}
    if found is None:
        return {"running": False}
    return {"running": True, "free": {name: {"free": free, "total": total} for name, (free, total) in found.items()}}


def engines(here: Hardware) -> list[dict[str, Any]]:
    """Return what is known of each engine and family of local models."""
    found = registry.engines()
    return [_engine(found[name], backend.info, here) for name, backend in registry.local().items()]


def _engine(engine: Engine, info: Info, here: Hardware) -> dict[str, Any]:
    lacking = [*engine.missing, *(f"'{wanted}'" for wanted in engine.wanted)]
    companions = f"pip install {' '.join(lacking)}" if lacking else ""
    return {
        "engine": engine.name,
        "installed": {package.name: package.version for package in engine.packages},
        "can": sorted(info.capabilities),
        "runs_on": list(engine.runs_on(here)),
        "install": "" if engine.usable else companions or info.install_command,
    }


def model(model_path: str, here: Hardware, worker: Worker | None = None) -> dict[str, Any]:
    """Return what a model's files contain, which engine runs it here, and whether it fits; sizes in bytes.

    Raises:
        BadParameter: there is no recognized model there.
    """
    engines = registry.engines()
    weights = files.inspect(model_path, file_formats(engines))
    facts: dict[str, Any] = {
        "path": str(weights.path),
        "format": weights.format,
        "architecture": weights.architecture,
        "parameters": weights.parameters,
        "dtype": weights.dtype,
        "size": weights.size,
        "files": [path.name for path in weights.files],
        "context": weights.context,
    }
    here = here.for_worker(worker.gpus) if worker else here
    try:
        choice = engine_choice.choose(weights, here, engines)
    except ByzerError as err:
        return facts | {"engine": None, "why": join(err.message, err.hint)}
    engine = engines[choice.name]
    if worker:
        engine = engines.get(worker.engine, engine)
        tokens, share = worker.value(engine.facts.context_param), worker.value(engine.facts.memory.share_param)
        need = memory.estimate(weights, engine, here, tokens, gpus=worker.gpus, share=share)
    else:
        need = memory.estimate(weights, engine, here)
    why = choice.why if engine.name == choice.name else lazy_gettext("it is the one that you chose")
    facts |= {"engine": engine.name, "why": why, "installed": bool(engine.usable)}
    return facts | {"memory": _memory(need), "free": _free(need, here)} | _fit(weights, need, here, engines)


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
        "gpus": need.gpus if need.gpu else 0,
        "takes": need.takes,
        "takes_share": need.share or None,
        "takes_tokens": need.cached_tokens or None,
    }


def _free(need: Estimate, here: Hardware) -> int | None:
    return here.gpu_memory_free(need.gpus if need.taken else None) if need.gpu else here.memory_free


def _fit(weights: Weights, need: Estimate, here: Hardware, engines: Engines) -> dict[str, Any]:
    """Return whether it fits, and if not, what would make it fit, as advice."""
    free = _free(need, here)
    if free is None or (need.takes <= free and need.total <= (need.taken or need.total)):
        return {"fits": None if free is None else True, "to_fit": []}
    return {"fits": False, "to_fit": list(_advice(weights, need, free, engines))}


def _advice(weights: Weights, need: Estimate, free: int, engines: Engines) -> Iterator[str]:
    facts = engines[need.engine].facts
    if need.taken and need.total <= free * (1 - SPARE):
        share = math.floor(need.share * free / need.taken * (1 - SPARE) * 100) / 100
        yield f"--infer_params {facts.memory.share_param}={share}"
        return
    free = min(free, need.taken or free)
    tokens = need.context_within(free)
    if tokens and facts.context_param:
        yield f"--infer_params {facts.context_param}={tokens}"
    elif lighter := _lighter(weights, need, free, engines):
        yield lazy_gettext("--infer_backend {engine}, which needs less memory on top of the weights", engine=lighter)
    if bits := memory.quantized_to(weights, need, free):
        yield lazy_gettext("a version quantized to {bits} bits or fewer (GGUF, AWQ, GPTQ)", bits=bits)
    elif not tokens:
        more = readable(need.total - free)
        yield lazy_gettext("a smaller model, or {amount} more free memory: undeploy something", amount=more)


def _lighter(weights: Weights, need: Estimate, free: int, engines: Engines) -> str:
    """Return another engine that `auto` could take, whose overhead leaves room for the weights."""
    for name, engine in engines.items():
        overhead = engine.facts.memory.overhead_bytes
        if weights.format in engine.facts.auto and overhead < need.overhead and need.weights + overhead < free:
            return name
    return ""


# ---- rows


def tables(report: dict[str, Any]) -> list[list[Row]]:
    """Return the tables that show a report, in the active language: of a model, or of the machine and its engines."""
    if "model" in report:
        return [_rows(_("model"), _model_lines(report["model"]))]
    return [_rows(_("machine"), _machine_lines(report["machine"])), [_engine_row(item) for item in report["engines"]]]


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
    details = listed([facts["architecture"], *sets])
    yield (
        _("CPUs"),
        _("{cpus}, load {load} ({details})", cpus=facts["cpus"], load=format(facts["load"], ".1f"), details=details),
    )
    yield _("memory"), _share(facts)
    yield _("GPUs"), _("; ").join(map(_gpu, facts["gpus"])) or _("none")
    for folder, free in facts["disks_free"].items():
        yield _("disk"), _("{free} free at {folder}", free=readable(free), folder=model_search.short(Path(folder)))
    yield _("Python"), facts["python"]
    yield _("Ray"), _("{text} ({notes})", text=facts["ray"]["version"], notes=_ray(facts["ray"]))


def _share(facts: dict[str, Any]) -> str:
    free, total = readable(facts["memory_free"]), readable(facts["memory_total"])
    return _("{free} of {total} free", free=free, total=total)


def _gpu(gpu: dict[str, Any]) -> str:
    if gpu["memory_free"] is None or gpu["memory_total"] is None:
        return str(gpu["name"])
    return _("{text} ({notes})", text=gpu["name"], notes=_share(gpu))


def _ray(facts: dict[str, Any]) -> str:
    if not facts["running"]:
        return str(localized(facts.get("error"))) if "error" in facts else _("not running here")
    return listed(
        _(
            "{free} of {total} {resource}s free",
            free=format(part["free"], "g"),
            total=format(part["total"], "g"),
            resource=name,
        )
        for name, part in facts["free"].items()
        if part["total"]
    ).translated()


def _engine_row(facts: dict[str, Any]) -> Row:
    versions = listed(f"{name} {version}" for name, version in facts["installed"].items()).translated()
    return {
        _("engine"): facts["engine"],
        _("installed"): versions or _("no"),
        _("runs on"): ", ".join(facts["runs_on"]) or ("" if facts["install"] else _("not this machine")),
        _("capabilities"): " ".join(facts["can"]),
        _("to install"): facts["install"],
    }


def _model_lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield _("path"), model_search.short(Path(facts["path"]))
    yield _("format"), ", ".join(filter(None, (facts["format"], facts["architecture"])))
    count = readable(facts["parameters"], "") if facts["parameters"] else ""
    yield _("parameters"), f"{count} ({facts['dtype']})" if count else _("unknown")
    yield _("on disk"), _on_disk(facts)
    yield _("context"), _("{count} tokens", count=format(facts["context"], ",")) if facts["context"] else _("unknown")
    why = localized(facts["why"])
    if facts["engine"] is None:
        yield _("engine"), _("none: {why}", why=why)
        return
    if facts["installed"]:
        yield _("engine"), _("{engine}, because {why}", engine=facts["engine"], why=why)
    else:
        yield _("engine"), _("{engine} (not installed), because {why}", engine=facts["engine"], why=why)
    yield from _memory_lines(facts["memory"])
    yield _("fits"), _fits(facts)
    for at, advice in enumerate(facts["to_fit"]):
        yield "" if at else _("would fit"), localized(advice)


def _on_disk(facts: dict[str, Any]) -> str:
    size, names = readable(facts["size"]), listed(facts["files"][:3])
    return ngettext(
        "{size} in {count} file: {names}",
        "{size} in {count} files: {names}",
        len(facts["files"]),
        size=size,
        names=names,
    )


def _memory_lines(memory: dict[str, Any]) -> Iterator[tuple[str, str]]:
    weights, tokens = readable(memory["weights"]), f"{memory['cache_tokens']:,}"
    if memory["dtype"]:
        yield _("weights"), _("{size} as {dtype}", size=weights, dtype=memory["dtype"])
    else:
        yield _("weights"), _("{size} as stored", size=weights)
    if memory["cache"]:
        yield (
            _("KV cache"),
            ngettext(
                "{size} for a context of {tokens} tokens",
                "{size} for {count} requests with a context of {tokens} tokens each",
                memory["cache_answers"],
                size=readable(memory["cache"]),
                tokens=tokens,
            ),
        )
    yield _("overhead"), _("{size} for the engine", size=readable(memory["overhead"]))
    total = readable(memory["total"])
    if memory["takes_share"]:
        yield _("total"), _("at least {size} of GPU memory per worker", size=total)
        yield _("takes"), _takes(memory)
    elif memory["on"] == "GPU":
        yield _("total"), _("about {size} of GPU memory per worker", size=total)
    else:
        yield _("total"), _("about {size} of memory per worker", size=total)


def _takes(memory: dict[str, Any]) -> str:
    text = ngettext(
        "{size}: the engine takes {share} of a GPU, whatever the model needs",
        "{size}: the engine takes {share} of each of {count} GPUs, whatever the model needs",
        memory["gpus"],
        size=readable(memory["takes"]),
        share=f"{memory['takes_share'] * 100:.0f} %",
    )
    if not memory["takes_tokens"]:
        return text
    tokens = f"{memory['takes_tokens']:,}"
    return _("{text}; the KV cache has room for about {tokens} tokens of all requests", text=text, tokens=tokens)


def _fits(facts: dict[str, Any]) -> str:
    if facts["free"] is None:
        return _("unknown: the free memory cannot be read")
    free = readable(facts["free"])
    return _("yes: {free} is free", free=free) if facts["fits"] else _("no: {free} is free", free=free)
