"""LoRA adapters in vLLM: each is loaded once, and again when its files have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byzer_magic.backends.engine import adapters
from byzer_magic.backends.local.vllm.engine import Running


class Adapters:
    """The adapters of one engine.

    Args:
        running: the engine.
        params: the deployment's parameters, which must allow adapters.
        model: the model's folder or file.
    """

    def __init__(self, running: Running, params: Mapping[str, Any], model: Path) -> None:
        self._running = running
        self._known = adapters.Adapters(params, model)
        self._loaded: set[str] = set()
        """The names of adapters for vLLM."""
        self._lock = asyncio.Lock()

    async def name(self, asked: Any) -> str:
        """Return the name by which a request asks vLLM for an adapter, loaded if it is new or was retrained.

        Args:
            asked: the adapter; see `adapters.Adapters.find`.

        Raises:
            BadRequest: the deployment does not allow adapters, or this is not one of its adapters.
            ErrorResponse: vLLM refuses it.
        """
        found = await self._known.find(asked)
        name = f"{found.folder}@{found.changed}"
        async with self._lock:
            if name not in self._loaded:
                await self._running.load_adapter(name, str(found.folder))
                self._loaded.add(name)
        return name
