"""What the official SDKs send requests with: their own client on aiohttp, with our limits, proxy and certificates."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType
from typing import Any

from byzer_magic.backends.base import Setup
from byzer_magic.backends.http import received, redirects
from byzer_magic.backends.http.client import identify
from byzer_magic.backends.http.params import connections


def http_client(sdk: Any, setup: Setup, url: str) -> tuple[Any, Any]:
    """Return the `http_client` of an SDK's client, and the library below it, whose exceptions it may raise.

    Args:
        sdk: the module `openai` or `anthropic`.
        setup: the deployment.
        url: where its requests go.
    """
    # httpx2 for openai 3, httpx for openai 2: the SDK takes the limits of its own library only.
    http = importlib.import_module(sdk.Timeout.__init__.__module__.partition(".")[0])
    limit = connections(setup)
    given = setup.network.ssl_context()
    client = sdk.DefaultAioHttpClient(  # does not collapse at 64 requests at once
        limits=http.Limits(max_connections=limit, max_keepalive_connections=limit),
        proxy=setup.network.proxy(url),
        verify=_default_context(http) if given is True else given,
        trust_env=False,
        headers={"Accept-Encoding": received.ENCODINGS},
        event_hooks={"request": [identify], "response": [redirects.check, received.bounded(http)]},
    )
    return client, http


@functools.cache
def _default_context(http: ModuleType) -> Any:
    """Return the library's own default, made once: reading the certificates of all authorities takes 20 ms."""
    return http.create_ssl_context(trust_env=False)
