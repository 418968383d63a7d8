"""The environment variables with which a hub is asked: what of `.env` is taken, and to whom a token goes."""

from __future__ import annotations

import os
from collections.abc import Mapping

from byzer_magic.local_models.hubs.hub import HUBS

WITHOUT_TOKEN = {
    "hf": {"HF_TOKEN": "", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"},  # else that of a login is sent
    "ms": {"MODELSCOPE_API_TOKEN": ""},
}
"""How a hub's package is kept from sending a token."""


def of_hubs(environ: Mapping[str, str], process: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment in which hubs are asked: this process's own, and of `.env` only tokens and mirrors.

    A folder that was cloned may have a `.env` of another's: it must not run code in a process of ours, move a cache, or
    draw a token of the user to its mirror. So a mirror that it names gets no token but one from the same file.

    Args:
        environ: the environment and `.env`.
        process: the environment alone.

    Example:
        >>> found = of_hubs({"HF_ENDPOINT": "http://mirror", "PYTHONPATH": "/x"}, {"HF_TOKEN": "mine"})
        >>> found["HF_ENDPOINT"], found["HF_TOKEN"], "PYTHONPATH" in found
        ('http://mirror', '', False)
    """
    found = dict(process)
    for name, hub in HUBS.items():
        found |= {key: environ[key] for key in (hub.endpoint, hub.token) if key in environ and key not in process}
        foreign = hub.endpoint in environ and hub.endpoint not in process
        if foreign and (hub.token in process or hub.token not in environ):
            found |= WITHOUT_TOKEN[name]
    return found
