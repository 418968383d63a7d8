"""The deployments that a cluster is to have, in a file of its user: they come back when the cluster is started again.

No secret is written: `${NAME}`, `env:NAME` and `keyring:...` are kept as typed, a key that was typed is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from byzer_magic import config
from byzer_magic.commands.options import visible_setting
from byzer_magic.commands.secrets import is_reference
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import ConfigError
from byzer_magic.files import paths, private
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.local_models.hubs.reference import is_in_hub
from byzer_magic.plan import Plan
from byzer_magic.routing.budget import Spent

FOLDER = "fleets"
LOCAL = "local"
"""The name of the local Ray's fleet, whose address is another one each time."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment that the cluster is to have."""

    spec: DeploySpec
    """As typed, without the parameters in `left_out`."""
    plan_id: str = ""
    """The plan of the deployment that runs, to look up how many workers it has been scaled to."""
    folder: str = ""
    """The working directory of its deploy, whose `.env` has the values of `${NAME}`."""
    path: str = ""
    """Where its model was, which `spec` may name as one in a hub."""
    left_out: list[str] = []
    """The parameters whose values were secrets, and are kept nowhere."""
    capabilities: list[str] = []
    """What the model could do when it was loaded."""
    spent: Spent | None = None
    """What it has spent of its budget, where it has one."""

    @property
    def located(self) -> DeploySpec:
        """Return the spec with the path of its model, where that is in a hub and was fetched."""
        here = is_in_hub(self.spec.model_path) and self.path and paths.exists(Path(self.path))
        return replace(self.spec, model_path=self.path) if here else self.spec


class _File(msgspec.Struct):
    deployments: list[Wanted] = []


def wanted(plan: Plan, folder: str, capabilities: list[str]) -> Wanted:
    """Return what is kept of a deployment.

    Args:
        plan: the deployment.
        folder: the working directory in which its `.env` was read.
        capabilities: what its model can do.
    """
    params = plan.spec.infer_params
    left_out = [name for name, text in params.items() if _is_secret(name, text, plan.hidden)]
    kept = {name: text for name, text in params.items() if name not in left_out}
    spec = replace(
        plan.spec,
        infer_params=kept,
        model_path=plan.model_path,
        replace=False,
        check=False,
    )
    return Wanted(
        spec=spec, plan_id=plan.id, folder=folder, path=plan.setup.model_path or "", left_out=left_out,
        capabilities=capabilities,
    )  # fmt: skip


def _is_secret(name: str, text: str, hidden: tuple[str, ...]) -> bool:
    """Return whether a parameter's text has a secret: what is hidden where settings are shown is kept nowhere."""
    typed = any(value and value in text for value in hidden)
    return not is_reference(text) and (typed or visible_setting(name, text) != text)


class FleetFile:
    """The wanted deployments of one cluster, by alias. One process writes: the controller.

    Args:
        cluster: `LOCAL`, or the cluster's address.

    Example:
        >>> FleetFile("10.0.0.5:6379").path.name
        '10.0.0.5_6379.json'
    """

    def __init__(self, cluster: str) -> None:
        name = re.sub(r"[^\w.-]", "_", cluster)
        self.path = config.config_file().parent / FOLDER / f"{name}.json"

    def read(self) -> dict[str, Wanted]:
        """Return the wanted deployments.

        Raises:
            ConfigError: the file is another user's, or is not such a file.
        """
        content = private.read_own(self.path)
        if content is None:
            if self.path.is_symlink() or self.path.exists():
                raise ConfigError(
                    _("{path} cannot be read, or belongs to another user.", path=self.path), _("Check its owner.")
                )
            return {}
        try:
            found = msgspec.json.decode(content or b"{}", type=_File).deployments
        except msgspec.DecodeError as err:
            raise ConfigError(
                _("{path} is not a list of deployments: {error}.", path=self.path, error=err),
                _("Correct or remove the file, then deploy its models again."),
            ) from None
        return {item.spec.model: item for item in found}

    def write(self, deployments: Mapping[str, Wanted]) -> None:
        """Replace the file at once, so that no reader sees half of it.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = msgspec.json.format(msgspec.json.encode(_File(list(deployments.values()))), indent=2)
        private.replace_own(self.path, content, durable=True)
