"""Plans as messages: a face checks a plan and expands its secrets; the controller creates its deployment."""

from __future__ import annotations

from byzer_magic.backends.base import Setup
from byzer_magic.commands.secrets import Secret
from byzer_magic.plan import Plan
from byzer_magic.runtime.transport.messages import DeployRequest


def to_message(plan: Plan, *, spare: bool, folder: str = "") -> DeployRequest:
    """Return the message that creates a plan's deployment.

    Args:
        plan: what to deploy.
        spare: whether to keep a process ready for the next deployment.
        folder: the working directory, where `.env` was read.
    """
    params = plan.setup.params
    secret = [name for name, value in params.items() if isinstance(value, Secret)]
    return DeployRequest(
        spec=plan.spec,
        id=plan.id,
        token=plan.token.reveal(),
        params={name: value.reveal() if isinstance(value, Secret) else value for name, value in params.items()},
        secret=secret,
        model_path=plan.setup.model_path,
        concurrency=plan.setup.concurrency,
        network=plan.setup.network,
        spare=spare,
        folder=folder,
    )


def to_plan(message: DeployRequest) -> Plan:
    """Return the plan of a message."""
    spec = message.spec
    params = {name: Secret(value) if name in message.secret else value for name, value in message.params.items()}
    setup = Setup(
        model=spec.model,
        params=params,
        model_path=message.model_path,
        concurrency=message.concurrency,
        cpus=spec.cpus_per_worker,
        gpus=spec.gpus_per_worker,
        network=message.network,
    )
    return Plan(spec=spec, setup=setup, id=message.id, token=Secret(message.token))
