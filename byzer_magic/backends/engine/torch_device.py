"""The device that torch computes on."""

from __future__ import annotations

from byzer_magic.errors import BadParameter, EngineFailed
from byzer_magic.i18n import lazy_gettext as _

_REFUSALS = (RuntimeError, AssertionError, ValueError, NotImplementedError)
"""What torch raises for an unknown name, a missing card, a build without support, or a missing implementation."""


def usable(name: str) -> str:
    """Return the name of an available device, in torch's form.

    Raises:
        BadParameter: torch cannot use it here; the message has the reason.
    """
    import torch

    try:
        found = torch.device(name)
        torch.empty(1, device=found)
    except _REFUSALS as err:
        reason = " ".join(str(err).split(". ")[0].split())
        raise BadParameter(
            _("device is {name!r}, which torch cannot use here: {reason}.", name=name, reason=reason),
            _("Use e.g. cpu or cuda:0; leave it out to use the default."),
        ) from err
    return str(found)


def of_worker(device: str | None, gpus: float) -> str:
    """Return the device of a worker, in torch's form: the one that is named, else a reserved GPU, else the CPU.

    Args:
        device: the parameter; None or `auto` where none is named.
        gpus: how many GPUs are reserved for the worker; the others are hidden from it, apart from Apple's.

    Raises:
        BadParameter: torch cannot use the one that is named.
        EngineFailed: torch cannot use the GPUs that are reserved.
    """
    import torch

    if device not in (None, "auto"):
        return usable(str(device))
    if not gpus:
        return "cpu"
    if torch.cuda.is_available():
        return "cuda:0"
    if torch.mps.is_available():
        return "mps"
    raise EngineFailed(
        _("The worker has {gpus:g} GPUs, but torch {version} cannot use them.", gpus=gpus, version=torch.__version__),
        _("Install torch for your GPU (https://pytorch.org/get-started), or use --gpus_per_worker 0."),
    )
