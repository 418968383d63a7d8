"""The hint that goes with a request for what a model cannot do."""

from __future__ import annotations

from collections.abc import Sequence

from byzer_magic.i18n import lazy_gettext as _, listed


def capable_hint(needs: Sequence[str], capable: Sequence[str]) -> str:
    """Return the hint that goes with a request for what a model cannot do.

    Args:
        needs: the capabilities that it lacks.
        capable: the models that have them.
    """
    what = " + ".join(needs)
    if capable:
        return _("These models have the capability {what}: {aliases}.", what=what, aliases=listed(capable))
    return _("Deploy a model with the capability {what} (`presets` lists them).", what=what)
