"""From the parameters of a deployment to a loaded model: driver, files, and why loading failed."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from byzer_magic.backends.base import Setup
from byzer_magic.backends.engine import loading
from byzer_magic.backends.local.llama_cpp import driver_llama_cpp_python, driver_xllamacpp
from byzer_magic.backends.local.llama_cpp.driver import RANK, Driver, Load
from byzer_magic.backends.local.llama_cpp.params import (
    BATCH,
    BOUNDS,
    CACHE_TYPES,
    CONTEXT,
    CONTEXT_UNIT,
    EMBED_CONTEXT,
    LOADING,
)
from byzer_magic.errors import BadParameter, ByzerError, EngineFailed, MissingExtra
from byzer_magic.files import paths
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.local_models import gguf, gguf_check
from byzer_magic.local_models.hubs import cache
from byzer_magic.local_models.hubs.reference import is_in_hub

DRIVERS: dict[str, tuple[str, Callable[[Load], Driver], str]] = {
    "llama-cpp-python": (
        "llama_cpp", driver_llama_cpp_python.LlamaCppPython, "pip install 'byzer-magic[llama-cpp-python]'"
    ),
    "xllamacpp": ("xllamacpp", driver_xllamacpp.XLlamaCpp, "pip install 'byzer-magic[llama]'"),
}  # fmt: skip
"""Import name, class and install command of each driver, the preferred one first."""
ALL_LAYERS = -1
"""llama.cpp's number for all layers on the GPU."""
MEAN = 1
"""llama.cpp's number of the default pooling."""
_ENCODERS = ("bert", "t5encoder", "gemma-embedding")
"""Parts of the names of architectures that cannot generate text."""


def check(setup: Setup) -> None:
    """Check what is known without loading: the files, their content, and what the driver supports.

    Raises:
        BadParameter: the deployment cannot work.
        EngineFailed: the file is damaged or incomplete.
    """
    path = gguf.find(setup.model_path)
    meta = gguf.metadata(path)
    params = setup.params
    _check_values(params)
    if what := gguf.other_model(meta):
        give = _("Pass it as clip_model_path, and the language model as --model_path.")
        hint = give if "mmproj" in what else _("Specify the file of the language model.")
        raise BadParameter(
            _("{path} is not a language model but {what}.", path=path, what=what),
            hint,
        )
    if "lora_path" in params:
        adapter(params["lora_path"])
    embeds = embedding(params, meta)
    if clip := params.get("clip_model_path"):
        if embeds:
            raise BadParameter(_("clip_model_path cannot be used with an embedding model."), _("Leave it out."))
        mmproj(clip)
    if embeds and pooling(params, meta) == 0:
        raise BadParameter(
            _("pooling_type=0 returns an embedding per token, not per text."), _("Use 1 (mean), 2 or 3.")
        )
    _check_driver(params, ranks=embeds and pooling(params, meta) == RANK)
    _check_complete(path)


def _check_values(params: Mapping[str, Any]) -> None:
    for name, (least, most) in BOUNDS.items():
        if name in params and not least <= params[name] <= most:
            between = _("Use a number from {least} to {most}.", least=least, most=most)
            if most >= 2**31 - 1:
                between = _("Use {least} or more.", least=least)
            raise BadParameter(
                _("{name} is {value}, which llama.cpp does not accept.", name=name, value=params[name]), between
            )
    for name in ("type_k", "type_v"):
        if name in params and params[name] not in CACHE_TYPES:
            known = listed(f"{number} ({kind})" for number, kind in CACHE_TYPES.items())
            raise BadParameter(
                _("{name} is {value}, which llama.cpp does not accept.", name=name, value=params[name]),
                _("Use one of: {known}.", known=known),
            )
    for name, (fits, form) in _FORMS.items():
        if name in params and not fits(params[name]):
            raise BadParameter(
                _("{name} is {dumps}, which llama.cpp does not accept.", name=name, dumps=json.dumps(params[name])),
                form,
            )
    if params.get("vocab_only"):
        raise BadParameter(_("vocab_only=true loads no weights, so the model cannot respond."), _("Leave it out."))


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, int | float) for item in value)


_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "tensor_split": (_numbers, _("Use a JSON list of numbers, e.g. [0.5, 0.5].")),
    "kv_overrides": (
        lambda value: isinstance(value, dict),
        _('Use a JSON object, e.g. {"llama.context_length": 1024}.'),
    ),
    "numa": (lambda value: value in (0, 1, 2, 3, 4), _("Use true, false, or a number from 0 to 4.")),
}
"""The form of settings that are given as JSON."""


def adapter(lora: str) -> Path:
    """Return the file that `lora_path` names.

    Raises:
        BadParameter: it does not exist, or is not a LoRA adapter.
    """
    path = gguf.find(lora)
    meta = gguf.metadata(path)
    if meta and "LoRA" not in gguf.other_model(meta):
        raise BadParameter(
            _("{path} is not a LoRA adapter.", path=path),
            _("Set lora_path to a GGUF file made by convert_lora_to_gguf.py."),
        )
    return path


def _check_driver(params: Mapping[str, Any], *, ranks: bool) -> None:
    if params.get("driver") == "xllamacpp":
        for name in LOADING:
            if name in params and name not in driver_xllamacpp.SETTINGS:
                raise driver_xllamacpp.missing(name)
    if params.get("driver") == "llama-cpp-python":
        if ranks:
            raise BadParameter(_("llama-cpp-python does not support reranking."), _("Add driver=xllamacpp."))
        if (
            "clip_model_path" in params
            and importlib.util.find_spec("llama_cpp")
            and not driver_llama_cpp_python.has_vision()
        ):
            raise driver_llama_cpp_python.no_vision()


def mmproj(clip: str) -> Path:
    """Return the file that `clip_model_path` names; it may be in a hub.

    Raises:
        BadParameter: it does not exist, or is another kind of model.
        NotFetched: it is in a hub, and not on this machine.
    """
    if is_in_hub(clip):
        clip = str(cache.local(clip))
    path = paths.expanded(clip)
    if path.is_dir():
        raise BadParameter(_("clip_model_path is a folder: {path}.", path=path), _("Specify the mmproj file in it."))
    path = gguf.find(clip)
    meta = gguf.metadata(path)
    if meta and "mmproj" not in gguf.other_model(meta):
        raise BadParameter(
            _("{path} is not an mmproj file.", path=path), _("Set clip_model_path to the model's mmproj-*.gguf.")
        )
    return path


def embedding(params: Mapping[str, Any], meta: Mapping[str, Any]) -> bool:
    """Return whether the model is for embeddings or scores: by the parameter, else by its metadata."""
    family = str(meta.get("general.architecture", ""))
    made_for_it = bool(meta.get(f"{family}.pooling_type")) or any(name in family for name in _ENCODERS)
    return bool(params.get("embedding", made_for_it))


def pooling(params: Mapping[str, Any], meta: Mapping[str, Any]) -> int:
    """Return the pooling: of the parameter, else of the model, else mean."""
    given = params.get("pooling_type", -1)
    own = meta.get(f"{meta.get('general.architecture')}.pooling_type") or MEAN
    return int(own if given < 0 else given)


def driver_name(params: Mapping[str, Any], *, fuller: bool = False) -> str:
    """Return the requested driver, else the first that is installed; `fuller` prefers the one with more features.

    Raises:
        MissingExtra: it is not installed; the hint has the install command.
    """
    known = sorted(DRIVERS, reverse=fuller)
    wanted = [params["driver"]] if "driver" in params else known
    for name in wanted:
        if importlib.util.find_spec(DRIVERS[name][0]):
            return name
    raise MissingExtra(
        _("{wanted} is not installed.", wanted=" or ".join(wanted)),
        _("Run: {drivers}", drivers=DRIVERS[max(wanted)][2]),
    )


def load_of(setup: Setup) -> tuple[str, Load]:
    """Return the driver's name and what it loads, with the defaults for the model and the machine."""
    path = gguf.find(setup.model_path)
    meta = gguf.metadata(path)
    longest = gguf.context_length(meta)
    settings = {name: setup.params[name] for name in LOADING if name in setup.params}
    settings.setdefault("n_gpu_layers", ALL_LAYERS if setup.gpus else 0)
    embeds = embedding(setup.params, meta)
    most = EMBED_CONTEXT if embeds else CONTEXT
    settings.setdefault("n_ctx", min(most, longest or most))
    settings["n_ctx"] = settings["n_ctx"] or longest or most
    batch = BATCH
    if embeds:  # a text is processed in one batch
        settings |= {"embedding": True, "pooling_type": pooling(setup.params, meta)}
        batch = settings["n_ctx"]
        settings.setdefault("n_ubatch", batch)
    settings["n_ctx"] = -(-settings["n_ctx"] // CONTEXT_UNIT) * CONTEXT_UNIT
    settings.setdefault("n_batch", batch)
    if "seed" in settings:
        settings["seed"] %= 2**32  # -1 is llama.cpp's number for a random one
    settings.setdefault("n_threads", loading.cpu_threads(setup.cpus))
    settings.setdefault("n_threads_batch", settings["n_threads"])
    clip = setup.params.get("clip_model_path")
    name = driver_name(setup.params, fuller=bool(clip) or settings.get("pooling_type") == RANK)
    _check_driver({**settings, "driver": name, **({"clip_model_path": clip} if clip else {})}, ranks=False)
    template = str(meta.get("tokenizer.chat_template", ""))
    return name, Load(
        path=path,
        settings=settings,
        parallel=max(1, setup.concurrency),
        longest=longest,
        mmproj=mmproj(clip) if clip else None,
        tools="tools" in template or "tokenizer.chat_template.tool_use" in meta,
        base=not (template or "chat_format" in setup.params),
    )


def _check_complete(path: Path) -> None:
    if reason := gguf_check.damage(path):  # llama.cpp reports no reason, or crashes
        raise EngineFailed(
            _("llama.cpp cannot load {path}: {reason}.", path=path, reason=reason), _("Download it again.")
        )


def loaded(name: str, load: Load) -> Driver:
    """Return the loaded model.

    Raises:
        EngineFailed: llama.cpp cannot load it; the message has the reason.
    """
    lora = load.settings.get("lora_path")
    for path in filter(None, (load.path, load.mmproj, lora and paths.expanded(lora))):
        _check_complete(path)
    try:
        return DRIVERS[name][1](load)
    except (ByzerError, ValueError, RuntimeError, OSError, AssertionError) as err:
        raise _failed(load, err) from err


def _failed(load: Load, err: Exception) -> ByzerError:
    if isinstance(err, ByzerError) and not isinstance(err, EngineFailed):
        return err
    text = str(err)
    path = load.mmproj if load.mmproj and _OF_VISION.search(text) else load.path
    if unknown := _ARCHITECTURE.search(text):
        return EngineFailed(
            _(
                "llama.cpp cannot load {path}: its architecture {unknown} is not supported by the installed version.",
                path=path,
                unknown=unknown[1],
            ),
            _("Update llama-cpp-python or xllamacpp, or try another --infer_backend."),
        )
    reasons = [match[1] for match in (_REASON.search(text), _LINE.search(text)) if match]
    return loading.failed("llama.cpp", path, RuntimeError(reasons[0] if reasons else text))


_ARCHITECTURE = re.compile(r"unknown model architecture: '([^']*)'")
_REASON = re.compile(
    r"(?:error loading model|failed to load model '[^']*'|mtmd_init_from_file: error): (?!Failed to load CLIP)(.+)"
)
_LINE = re.compile(r"^(?:[\d.]+ E )?(?:\w[\w ]*: )*(.+)", re.MULTILINE)
_OF_VISION = re.compile(r"clip|mmproj|mtmd|multimodal")
