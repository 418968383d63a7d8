"""The manager and the models of this process, for calls from Python."""

from __future__ import annotations

import functools
import sys

from byzer_magic.client import arguments
from byzer_magic.client.manager import Manager
from byzer_magic.client.model import Model
from byzer_magic.i18n import set_language


@functools.cache
def default_manager() -> Manager:
    """Return the manager of this process, which reports nothing; its connection is shared by all faces."""
    manager = Manager()
    set_language(manager.settings.lang)
    return manager


def current_manager() -> Manager:
    """Return the manager for calls from Python: in a notebook with the magics, it shows progress in the cell."""
    magics = sys.modules.get("byzer_magic.magics")  # %load_ext imports it
    return (magics.current_manager() if magics is not None else None) or default_manager()


def model(alias: str) -> Model:
    """Return a deployed model; see `byzer_magic.model`.

    Raises:
        CannotConnect: no Ray is running, and none can be started.
    """
    manager, alias = current_manager(), arguments.text(alias, "alias")
    manager.reach(alias)
    return Model(alias, manager)
