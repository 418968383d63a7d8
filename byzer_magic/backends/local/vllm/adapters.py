"""LoRA adapters that requests choose: each is loaded once, under a name of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byzer_magic.backends.base import PREFIX
from byzer_magic.backends.local.vllm.engine import Running
from byzer_magic.errors import BadRequest
from byzer_magic.i18n import lazy_gettext as _

CONFIG = "adapter_config.json"
"""The file by which a folder is known to be an adapter."""
_SWITCH = f"{PREFIX}enable_lora"


class Adapters:
    """The adapters of one engine.

    Args:
        running: the engine.
        params: the deployment's parameters, which must allow adapters.
    """

    def __init__(self, running: Running, params: Mapping[str, Any]) -> None:
        self._running = running
        self._allowed = str(params.get(_SWITCH, "")).lower() == "true"
        self._loaded: set[str] = set()
        """The folders of adapters, which are their names for vLLM, too."""
        self._lock = asyncio.Lock()

    async def name(self, asked: Any) -> str:
        """Return the name by which a request asks for an adapter, loaded if it is the first one.

        Args:
            asked: a folder, or ``{"name": ..., "path": folder}``; the name is for people.

        Raises:
            BadRequest: the deployment does not allow adapters, or the folder is not one that fits the model.
            ErrorResponse: vLLM refuses it.
        """
        path = asked.get("path") if isinstance(asked, Mapping) else asked
        if not self._allowed:
            raise BadRequest(
                _("This deployment takes no LoRA adapters."),
                _("Deploy it with --infer_params {switch}=true.", switch=_SWITCH),
            )
        folder = _folder(path)
        async with self._lock:
            if folder not in self._loaded:
                await self._running.load_adapter(folder, folder)
                self._loaded.add(folder)
        return folder


def _folder(path: Any) -> str:
    """Return the folder of an adapter, resolved.

    Raises:
        BadRequest: it is none.
    """
    if isinstance(path, str) and (Path(path).expanduser() / CONFIG).is_file():
        return str(Path(path).expanduser().resolve())
    raise BadRequest(
        _("{path} is not the folder of a LoRA adapter.", path=repr(path)),
        _("Name a folder on the node of the workers that has {file} in it.", file=CONFIG),
    )
