"""Deploy any model on Ray from a notebook cell, and talk to it by its alias.

`%load_ext byzer_magic` brings the magics; `connect` and `model` are the same in Python:

    import byzer_magic as bz
    bz.connect()
    bz.model("alias").chat("hi").text
"""

from __future__ import annotations

import functools
import sys
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
    """Return the manager of this process, which reports nothing; its connection is shared by all faces.

    Example:
        >>> bz.default_manager() is bz.default_manager()
        True
    """
    from byzer_magic.client.manager import Manager
    from byzer_magic.i18n import set_language

    manager = Manager()
    set_language(manager.settings.lang)
    return manager


def _manager() -> Manager:
    """Return the manager for calls from Python: in a notebook with the magics, it shows progress in the cell."""
    magics = sys.modules.get("byzer_magic.magics")  # %load_ext imports it
    return (magics.current_manager() if magics is not None else None) or default_manager()


def connect(ray_address: str | None = None) -> str:
    """Connect to a Ray cluster and return its address.

    Args:
        ray_address: ``host:port``, or ``auto``, which starts a local Ray when none runs; by default that of the
            settings.

    Raises:
        CannotConnect: no Ray responds at this address.

    Example:
        >>> bz.connect()
        '...:...'
    """
    from byzer_magic.client import arguments

    return _manager().connect(None if ray_address is None else arguments.text(ray_address, "ray_address"))


def model(alias: str) -> Model:
    """Return a deployed model.

    Raises:
        CannotConnect: no Ray is running, and none can be started.
        NotDeployed: nothing is deployed as `alias`; raised at the first use.

    Example:
        >>> bz.model("gpt4o_chat")
        Model('gpt4o_chat')
    """
    from byzer_magic.client import arguments
    from byzer_magic.client.model import Model

    manager, alias = _manager(), arguments.text(alias, "alias")
    manager.reach(alias)
    return Model(alias, manager)


def deploy(line: str) -> Model:
    """Deploy a model, given as the options of `byzerllm deploy`.

    Args:
        line: e.g. ``"--pretrained_model_type saas/openai --infer_params saas.model=gpt-4o --model gpt4o"``.

    Raises:
        ByzerError: the line is wrong, or the deployment failed.

    Example:
        >>> bz.deploy("--pretrained_model_type saas/openai --infer_params saas.model=gpt-4o --model gpt4o")
        Model('gpt4o')
    """
    from byzer_magic.client import arguments
    from byzer_magic.client.model import Model
    from byzer_magic.commands.parser import parse, split
    from byzer_magic.commands.spec import DeploySpec

    words = split(arguments.text(line, "line"))
    spec = parse(words if words[:1] == ["deploy"] else ["deploy", *words])
    if not isinstance(spec, DeploySpec):
        raise TypeError(line)
    manager = _manager()
    plan = manager.plan(spec)
    if not spec.dry_run:
        manager.ensure(spec.ray_address)
        for _event in manager.iterate(manager.deploy(plan)):
            pass
        manager.reach(spec.model)
    return Model(spec.model, manager)


def undeploy(alias: str, *, force: bool = False) -> None:
    """Remove a deployment.

    Args:
        alias: its name.
        force: cancel the requests in flight instead of letting them finish.

    Raises:
        NotDeployed: nothing is deployed as `alias`.

    Example:
        >>> model = bz.deploy("--pretrained_model_type saas/openai --infer_params saas.model=gpt-4o --model old")
        >>> bz.undeploy("old")
    """
    from byzer_magic.client import arguments
    from byzer_magic.commands.spec import UndeploySpec

    manager, alias = _manager(), arguments.text(alias, "alias")
    manager.ensure()
    manager.run(manager.undeploy(UndeploySpec(model=alias, force=force)))


def load_ipython_extension(shell: Any) -> None:
    """Register `%byzer`, `%%byzer`, `%chat` and `%%chat` (called by `%load_ext byzer_magic`)."""
    from byzer_magic.magics import register

    register(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Remove what `load_ipython_extension` added."""
    from byzer_magic.magics import unregister

    unregister(shell)
