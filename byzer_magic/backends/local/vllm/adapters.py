"""LoRA adapters that requests choose: each is loaded once, and again when its files have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byzer_magic.backends.base import PREFIX
from byzer_magic.backends.local.vllm.engine import Running
from byzer_magic.backends.local.vllm.params import ALLOWED
from byzer_magic.errors import BadRequest
from byzer_magic.files import paths
from byzer_magic.i18n import lazy_gettext as _

CONFIG = "adapter_config.json"
"""The file by which a folder is known to be an adapter."""
_SWITCH = f"{PREFIX}enable_lora"


class Adapters:
    """The adapters of one engine.

    Args:
        running: the engine.
        params: the deployment's parameters, which must allow adapters.
        model: the model's folder or file; adapters beside it are allowed unless another folder is named.
    """

    def __init__(self, running: Running, params: Mapping[str, Any], model: Path) -> None:
        self._running = running
        self._allowed = str(params.get(_SWITCH, "")).lower() == "true"
        root = params.get(f"{PREFIX}{ALLOWED}")
        self._root = (paths.expanded(root) if root else model.parent).resolve()
        self._loaded: set[str] = set()
        """The names of adapters for vLLM."""
        self._lock = asyncio.Lock()

    async def name(self, asked: Any) -> str:
        """Return the name by which a request asks for an adapter, loaded if it is new or was trained anew.

        Args:
            asked: a folder, or ``{"name": ..., "path": folder}``; the name is for people.

        Raises:
            BadRequest: the deployment does not allow adapters, or the folder is not one of its adapters.
            ErrorResponse: vLLM refuses it.
        """
        path = asked.get("path") if isinstance(asked, Mapping) else asked
        if not self._allowed:
            raise BadRequest(
                _("This deployment takes no LoRA adapters."),
                _("Deploy it with --infer_params {switch}=true.", switch=_SWITCH),
            )
        folder = await asyncio.to_thread(self._folder, path)
        name = f"{folder}@{await asyncio.to_thread(_changed, folder)}"
        async with self._lock:
            if name not in self._loaded:
                await self._running.load_adapter(name, str(folder))
                self._loaded.add(name)
        return name

    def _folder(self, path: Any) -> Path:
        """Return the folder of an adapter, resolved.

        Raises:
            BadRequest: it is none, or not in the deployment's folder.
        """
        folder = paths.expanded(path).resolve() if isinstance(path, str) else None
        if folder is not None and not folder.is_relative_to(self._root):
            raise BadRequest(
                _("{path} is not in {folder}, where this deployment takes LoRA adapters from.",
                  path=repr(path), folder=str(self._root)),
                _("Move it there, or deploy with --infer_params {name}=FOLDER.", name=f"{PREFIX}{ALLOWED}"),
            )  # fmt: skip
        if folder is None or not (folder / CONFIG).is_file():
            raise BadRequest(
                _("{path} is not the folder of a LoRA adapter.", path=repr(path)),
                _("Name a folder on the node of the workers that has {file} in it.", file=CONFIG),
            )
        return folder


def _changed(folder: Path) -> int:
    """Return when the files of an adapter were last written, in ns."""
    return max(file.stat().st_mtime_ns for file in folder.iterdir() if file.is_file())
