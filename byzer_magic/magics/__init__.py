"""`%byzer`, `%%byzer`, `%chat`, `%%chat`: the commands inside IPython and Jupyter."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byzer_magic.client.manager import Manager

_ATTRIBUTE = "_byzer_magics"


def register(shell: Any) -> None:
    """Add the magics, their settings, completion and help to a shell; a second call does nothing."""
    from byzer_magic.magics import cells, complete, questions, tooltip
    from byzer_magic.magics.byzer import ByzerMagics

    if getattr(shell, _ATTRIBUTE, None) is None:
        magics = ByzerMagics(shell)
        shell.register_magics(magics)
        magics.remove = [
            complete.install(shell, magics),
            tooltip.install(shell),
            cells.install(shell),
            questions.install(shell),
        ]
        setattr(shell, _ATTRIBUTE, magics)


def current_manager() -> Manager | None:
    """Return the manager of the notebook that this process runs, where the magics are loaded."""
    from IPython.core.getipython import get_ipython

    magics = getattr(get_ipython(), _ATTRIBUTE, None)
    return magics.manager() if magics is not None else None


def unregister(shell: Any) -> None:
    """Remove what `register` added."""
    magics = getattr(shell, _ATTRIBUTE, None)
    if magics is None:
        return
    for remove in magics.remove:
        remove()
    for name in ("panel.screen", "form.screen", "chat.screen"):
        if (screen := sys.modules.get(f"byzer_magic.widgets.{name}")) is not None:  # if one was ever opened
            screen.close_all()
    for kind in ("line", "cell"):
        for name in ("byzer", "chat"):
            shell.magics_manager.magics[kind].pop(name, None)
    shell.magics_manager.registry.pop(type(magics).__name__, None)
    if magics in shell.configurables:
        shell.configurables.remove(magics)
    setattr(shell, _ATTRIBUTE, None)
