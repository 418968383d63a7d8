"""`ByzerLLM.deploy` as a command: what the setters have kept becomes options of `deploy`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from byzer_magic.backends import registry
from byzer_magic.client import fetching
from byzer_magic.client.manager import Manager
from byzer_magic.commands import former
from byzer_magic.commands.options import FALSE, TRUE
from byzer_magic.commands.parser import build
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import ByzerError

_OPTIONS = {
    "maxConcurrency": "num_workers",
    "workerMaxConcurrency": "worker_concurrency",
    "num_gpus": "gpus_per_worker",
    "num_cpus": "cpus_per_worker",
    "infer_backend": "infer_backend",
    "load_balance": "load_balance",
}
"""byzer-llm's names of settings, by which `setup` and the setters keep them."""
_WITHOUT_PREFIX = ("is_reasoning", "https_verify")
"""Parameters of APIs that `SimpleByzerLLM` also takes without `saas.`."""


def spec_of(
    alias: str, kind: str, model_path: str, params: Mapping[str, Any], settings: Mapping[str, Any]
) -> DeploySpec:
    """Return the spec of a deployment.

    Args:
        alias: byzer-llm's `udf_name`.
        kind: the `pretrained_model_type`.
        model_path: the model's folder or file; empty for an API.
        params: the `infer_params`, with values of any type.
        settings: what the setters have kept; what was not set has byzer-magic's default.

    Example:
        >>> spec_of("m", "saas/openai", "", {"saas.model": "gpt-4o"}, {"maxConcurrency": 2}).num_workers
        2
    """
    given = {option: settings[name] for name, option in _OPTIONS.items() if settings.get(name) is not None}
    if _is_api(kind):  # the setters are for local engines, and often left from another deployment
        given = {name: value for name, value in given.items() if name not in ("infer_backend", "gpus_per_worker")}
        params = {f"saas.{name}" if name in _WITHOUT_PREFIX else name: value for name, value in params.items()}
    given |= {"model": alias, "pretrained_model_type": kind, "model_path": model_path or None, "replace": True}
    return build(
        DeploySpec,
        given | {"infer_params": {name: _text(value) for name, value in params.items() if value is not None}},
    )


def _is_api(kind: str) -> bool:
    """Return whether models of a type run elsewhere; a type that does not exist is refused later."""
    try:
        return not registry.find(former.TYPES.get(kind, kind)).info.local
    except ByzerError:  # of engines, the type alone says nothing
        return False


def deploy_once(manager: Manager, spec: DeploySpec) -> None:
    """Deploy a model, unless this process has deployed the same one, and that is still there.

    Programs written for `SimpleByzerLLM` deploy before each request: to it, a deployment is an object of the process.

    Raises:
        ByzerError: the spec is wrong, or the deployment failed.
    """
    from byzer_magic.runtime.cluster import discovery

    found = discovery.announced(spec.model)
    if found is None or _DEPLOYED.get(spec.model) != (spec, found):
        fetching.deploy(manager, spec)
        _DEPLOYED[spec.model] = (spec, discovery.announced(spec.model))


_DEPLOYED: dict[str, tuple[DeploySpec, Any]] = {}
"""What `deploy_once` has deployed, by alias, and where its pool listens, which no other deployment shares."""


def _text(value: Any) -> str:
    """Return a parameter as it is typed in a command: objects and lists as JSON."""
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False)
    return (FALSE[0], TRUE[0])[value] if isinstance(value, bool) else str(value)
