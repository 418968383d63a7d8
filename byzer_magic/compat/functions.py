"""The functions of `byzerllm` beside its client."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec

from byzer_magic.client import current
from byzer_magic.compat.llm import ByzerLLM
from byzer_magic.log import get_logger

P = ParamSpec("P")

VERSION = "0.1.190"
"""The version of byzer-llm whose API this is."""


def connect_cluster(
    address: str = "auto",
    java_home: str | None = None,
    code_search_path: list[str] | None = None,
    init_options: dict[str, Any] | None = None,
) -> dict[str, str]:
    """Connect to a Ray cluster; return an empty dict, the variables that byzer-llm sets for Java.

    Args:
        address: ``auto`` or ``host:port``.
        java_home: accepted; there is no Java here.
        code_search_path: accepted.
        init_options: accepted; Ray's own settings are `byzer_magic`'s.

    Raises:
        CannotConnect: no Ray responds at this address.
    """
    current.current_manager().connect(address)
    return {}


def get_llm_names(llm: Any, target_model_type: str | None = None) -> list[str]:
    """Return the aliases of a client, of several, or of its clients under a name."""
    found = llm.get_sub_client(target_model_type) if target_model_type else None
    if isinstance(found, str):
        return found.split(",")
    clients = found or llm
    clients = clients if isinstance(clients, list) else [clients]
    return [each.default_model_name for each in clients if each.default_model_name]


def get_single_llm(model_names: str, product_mode: str = "") -> ByzerLLM:
    """Return a client of the first of several aliases, separated by commas."""
    return ByzerLLM.from_default_model(model_names.partition(",")[0].strip())


def get_model_info(model_names: str, product_mode: str = "") -> None:
    """Return None: prices are in `byzer_magic`'s own catalog, and results have their cost."""


def asyncfy_with_semaphore(
    func: Callable[P, Any], semaphore: Any = None, timeout: float | None = None
) -> Callable[P, Awaitable[Any]]:
    """Return a function that runs another one in a thread; a coroutine function runs where it is.

    Args:
        func: what to run.
        semaphore: an asyncio semaphore that is held meanwhile.
        timeout: seconds.
    """

    @functools.wraps(func)
    async def run(*args: P.args, **kwargs: P.kwargs) -> Any:
        async with asyncio.timeout(timeout), semaphore or contextlib.nullcontext():
            if inspect.iscoroutinefunction(func):
                return await func(*args, **kwargs)
            return await asyncio.to_thread(func, *args, **kwargs)

    return run


def init_logger(name: str) -> logging.Logger:
    """Return a logger of this package."""
    return get_logger(f"compat.{name}")
