"""LoRA adapters that requests choose: which folders are those of a deployment, and by what names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byzer_magic.backends.base import PREFIX, Param
from byzer_magic.errors import BadRequest, suggest
from byzer_magic.files import paths
from byzer_magic.i18n import lazy_gettext as _, listed

CONFIG = "adapter_config.json"
"""The file by which a folder is known to be an adapter."""
SWITCH = "enable_lora"
ALLOWED = "allowed_lora_path"
SHOWN = 20
"""Adapters that an error names."""

ALLOWED_PARAM = Param(
    name=f"{PREFIX}{ALLOWED}",
    aliases=(ALLOWED,),
    kind="text",
    help=_("folder in which requests may choose LoRA adapters (default: the folder that the model is in)"),
)


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter as it is now; one that was retrained is another."""

    folder: Path
    changed: int
    """When its files were last written, in ns."""


class Adapters:
    """The adapters that requests to a deployment may choose.

    Args:
        params: the deployment's parameters, which must allow adapters.
        model: the model's folder or file; adapters beside it are allowed unless another folder is named.
    """

    def __init__(self, params: Mapping[str, Any], model: Path) -> None:
        self._allowed = str(_given(params, SWITCH)).lower() == "true"
        root = _given(params, ALLOWED)
        self._root = (paths.expanded(root) if root else model.parent).resolve()

    async def find(self, asked: Any) -> Adapter:
        """Return the adapter that a request chooses.

        Args:
            asked: its folder, by the path or by its name in the deployment's folder of adapters, or
                ``{"name": ..., "path": folder}``; that name is for people.

        Raises:
            BadRequest: the deployment does not allow adapters, or this is not one of its adapters.
        """
        if not self._allowed:
            raise BadRequest(
                _("This deployment takes no LoRA adapters."),
                _("Deploy it with --infer_params {switch}=true.", switch=f"{PREFIX}{SWITCH}"),
            )
        return await asyncio.to_thread(self._find, asked.get("path") if isinstance(asked, Mapping) else asked)

    def _find(self, path: Any) -> Adapter:
        folder = (self._root / paths.expanded(path)).resolve() if isinstance(path, str) and path else None
        if folder is not None and not folder.is_relative_to(self._root):
            raise BadRequest(
                _("{path} is not in {folder}, where this deployment takes LoRA adapters from.",
                  path=repr(path), folder=str(self._root)),
                _("Move it there, or deploy with --infer_params {name}=FOLDER.", name=f"{PREFIX}{ALLOWED}"),
            )  # fmt: skip
        if folder is None or not (folder / CONFIG).is_file():
            known = self._names()
            names = _("Adapters in {folder}: {names}.", folder=str(self._root), names=listed(known[:SHOWN]))
            none = _("There are none in {folder}: each is a folder with {file} in it.",
                     folder=str(self._root), file=CONFIG)  # fmt: skip
            raise BadRequest(
                _("{path} is not the folder of a LoRA adapter.", path=repr(path)),
                suggest(str(path), known, names) if known else none,
            )
        return Adapter(folder, max(file.stat().st_mtime_ns for file in folder.iterdir() if file.is_file()))

    def _names(self) -> list[str]:
        """Return the names of the adapters in the folder."""
        try:
            return sorted(folder.name for folder in self._root.iterdir() if (folder / CONFIG).is_file())
        except OSError:
            return []


def _given(params: Mapping[str, Any], name: str) -> Any:
    """Return a parameter, which engines have with the prefix or without it."""
    return params.get(f"{PREFIX}{name}", params.get(name, ""))
