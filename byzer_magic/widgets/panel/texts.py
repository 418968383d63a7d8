"""The texts of the panel's script."""

from __future__ import annotations

from byzer_magic.i18n import gettext as _


def script_texts() -> dict[str, str]:
    """Return the texts of the script by key, in the active language; the script fills in their `{fields}`."""
    return {
        "queued": _("Waiting for the running cell to finish."),
        "silent": _("No update from the kernel for {age}; these numbers are out of date."),
        "below": _("Run this in a cell:"),
    }
