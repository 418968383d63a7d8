"""GPUs of a worker: those that are reserved for it, and none where none is.

Ray leaves every GPU visible to a worker without a reservation (unless RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO is set), and
engines take the first that they see. So a worker hides them all from itself before it imports an engine, and a device
that parameters name must be among the reserved ones, which is checked before anything starts.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, MutableMapping
from typing import Any

from byzer_magic.backends.base import Info, Setup
from byzer_magic.backends.openai.schema import text_or_json
from byzer_magic.errors import BadParameter
from byzer_magic.i18n import Text, lazy_gettext as _, lazy_ngettext
from byzer_magic.local_models import installed
from byzer_magic.local_models.engine_facts import CPU, GPU

HIDDEN = {
    "CUDA_VISIBLE_DEVICES": "",
    "HIP_VISIBLE_DEVICES": "-1",  # the ROCm runtime takes an empty one for an unset one
    "ZE_AFFINITY_MASK": "",
    "GGML_VK_VISIBLE_DEVICES": "",
}
"""What hides the GPUs of NVIDIA, AMD and Intel, as Ray would, and those of llama.cpp's Vulkan builds."""
_KINDS = ("cuda", "hip", "rocm", "xpu", "mps", "metal", "vulkan")
"""How the names of devices begin that are GPUs, in torch, ONNX Runtime, CTranslate2 and FunASR."""


def hide(setup: Setup, environ: MutableMapping[str, str] = os.environ) -> None:
    """Hide all GPUs from this process and those that it starts, unless some are reserved for the worker."""
    if not setup.gpus:
        environ.update(HIDDEN)


def check(info: Info, setup: Setup) -> None:
    """Check that the GPUs that parameters ask for, or the engine needs, are reserved.

    Raises:
        BadParameter: they are not; the hint has the number to reserve.
    """
    if info.engine is None:
        return
    for name, value in setup.params.items():
        if (needed := _needed(info, name, value)) > math.ceil(setup.gpus):
            raise _unreserved(name, value, needed, setup)
    usable = [package for package in installed.find(info.engine.packages) if not package.missing]
    if not setup.gpus and usable and not any(CPU in package.devices for package in usable):
        raise BadParameter(
            _("{package} {version} was built for GPUs, but none is reserved for the workers.",
              package=usable[0].name, version=usable[0].version),
            _("Add --gpus_per_worker 1."),
        )  # fmt: skip


def _unreserved(name: str, value: Any, needed: int, setup: Setup) -> BadParameter:
    facts = {"name": name, "value": value, "needed": needed}
    if not setup.gpus:
        return BadParameter(
            _("{name} is {value}, but no GPU is reserved for the workers.", **facts),
            _("Add --gpus_per_worker {needed}, or leave {name} out.", **facts),
        )
    message = lazy_ngettext(
        "{name} is {value}, but {count} GPU is reserved for each worker, and its number there is 0.",
        "{name} is {value}, but {count} GPUs are reserved for each worker, and their numbers there start at 0.",
        count=math.ceil(setup.gpus),
        **facts,
    )
    return BadParameter(message, _("Use a lower number, or --gpus_per_worker {needed}.", **facts))


def _needed(info: Info, name: str, value: Any) -> int:
    """Return how many GPUs a worker needs for a parameter's value; names are `device`, `vad_kwargs.device`, ..."""
    kind = name.rpartition(".")[2]
    if kind not in ("device", "device_map", "max_memory"):
        return int(info.engine is not None and name in info.engine.gpu_params and bool(value))
    value = text_or_json(value) if isinstance(value, str) else value
    devices: Iterable[Any] = [value]
    if isinstance(value, dict):
        devices = value if kind == "max_memory" else value.values()
    return max(map(_count, devices), default=0)


def _count(device: Any) -> int:
    """Return how many GPUs a worker needs to have one of this name.

    Example:
        >>> [_count(device) for device in ("cpu", "auto", "cuda", "cuda:1", 2)]
        [0, 0, 1, 2, 3]
    """
    kind, _colon, number = str(device).strip().lower().partition(":")
    if kind.isdigit():
        return int(kind) + 1
    return (int(number) if number.isdigit() else 0) + 1 if kind in _KINDS else 0


def notes(info: Info, setup: Setup) -> list[Text]:
    """Return what a deploy should report about the workers' devices, in sentences."""
    found = installed.find(info.engine.packages) if info.engine else ()
    usable = [package for package in found if not package.missing]
    if not setup.gpus or not usable or any(GPU in package.devices for package in usable):
        return []
    facts = {"package": usable[0].name, "version": usable[0].version}
    text = _("{package} {version} was built for CPUs: the model will not use the GPUs that are reserved.", **facts)
    return [text]
