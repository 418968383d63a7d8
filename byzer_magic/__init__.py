"""Deploy any model on Ray from a notebook cell, and talk to it by its alias.

`%load_ext byzer_magic` brings the magics; `connect` and `model` are the same in Python:

    import byzer_magic as bz
    bz.connect()
    bz.model("alias").chat("hi").text
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byzer_magic.client.manager import Manager
    from byzer_magic.client.model import Model

__all__ = [
    "connect",
    "default_manager",
    "deploy",
    "load_ipython_extension",
    "model",
    "undeploy",
    "unload_ipython_extension",
]
__version__ = "0.1.0"


@functools.cache
def default_manager() -> Manager:
    """Return this process's manager."""
    from byzer_magic.client.manager import Manager

    return Manager()


def connect(ray_address: str | None = None) -> str:
    """Connect to a Ray cluster and return its address; `auto` starts a local one when none runs.

    Raises:
        CannotConnect: nothing answers there.
    """
    return default_manager().connect(ray_address)


def model(alias: str) -> Model:
    """Return a handle on a deployed model.

    Raises:
        NotDeployed: when it is used and nothing runs under the alias.
    """
    from byzer_magic.client.model import Model

    default_manager().reach(alias)
    return Model(alias, default_manager())


def deploy(line: str) -> Model:
    """Deploy what a command line says, e.g. ``deploy("--pretrained_model_type saas/openai ... --model m")``.

    Raises:
        ByzerError: the line is wrong, or the deployment failed.
    """
    from byzer_magic.client.model import Model
    from byzer_magic.commands.parser import parse, split
    from byzer_magic.commands.spec import DeploySpec

    words = split(line)
    spec = parse(words if words[:1] == ["deploy"] else ["deploy", *words])
    if not isinstance(spec, DeploySpec):
        raise TypeError(line)
    plan = default_manager().plan(spec)
    if spec.dry_run:
        return Model(spec.model, default_manager())
    default_manager().ensure(spec.ray_address)
    for _ in default_manager().iterate(default_manager().deploy(plan)):
        pass
    return model(spec.model)


def undeploy(alias: str, *, force: bool = False) -> None:
    """Remove a deployment; unless `force`, requests in flight may finish.

    Raises:
        NotDeployed: nothing runs under the alias.
    """
    from byzer_magic.commands.spec import UndeploySpec

    default_manager().ensure()
    default_manager().run(default_manager().undeploy(UndeploySpec(model=alias, force=force)))


def load_ipython_extension(shell: Any) -> None:
    """Register `%byzer`, `%%byzer`, `%chat` and `%%chat` (called by `%load_ext byzer_magic`)."""
    from byzer_magic.magics import register

    register(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Remove all that `load_ipython_extension` added."""
    from byzer_magic.magics import unregister

    unregister(shell)
