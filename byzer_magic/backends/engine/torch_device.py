"""The device that torch computes on."""

from __future__ import annotations

from byzer_magic.errors import BadParameter
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
