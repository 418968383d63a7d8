"""What all calls of an endpoint share, and its paths."""

from __future__ import annotations

import time
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route, Router

from byzer_magic.gateway import spans
from byzer_magic.gateway.access import Access, Neighbours
from byzer_magic.gateway.bodies import Held
from byzer_magic.gateway.calls import Call, Endpoint, unknown_path, wrong_method
from byzer_magic.gateway.deployments import Deployments
from byzer_magic.gateway.media_urls import MediaUrls
from byzer_magic.gateway.metrics import Metrics
from byzer_magic.gateway.paths import PATHS
from byzer_magic.gateway.responses.memory import Memory
from byzer_magic.gateway.wires import ANTHROPIC, OPENAI
from byzer_magic.log import get_logger

log = get_logger("gateway")


class Gateway:
    """An endpoint: the deployments behind it, who may use it, and what it has done.

    Args:
        deployments: what is asked.
        access: the keys.
        neighbours: who of this machine may ask without a key.
        media_urls: fetches images and audio for models of the cluster.
    """

    def __init__(
        self, deployments: Deployments, access: Access, neighbours: Neighbours, media_urls: MediaUrls | None = None
    ) -> None:
        self.deployments = deployments
        self.access = access
        self.neighbours = neighbours
        self.media_urls = media_urls or MediaUrls()
        self.held = Held()
        self.memory = Memory()
        self.metrics = Metrics()
        self._spans = spans.make()

    def begun(self) -> None:
        """Count a call that begins."""
        self.metrics.begun()

    def ended(self, call: Call) -> None:
        """Count a call that has ended, and log it."""
        self.metrics.ended(call)
        if self._spans is not None:
            self._spans.ended(call)
        tokens = call.usage.completion_tokens if call.usage else 0
        model = call.model if call.problem != "NotDeployed" else ""  # what clients make up does not get into the log
        log.info(
            "%s %s %s model=%s key=%s %.3fs %d tokens %s%s", call.scope["method"], call.path or "-", call.status or "-",
            model or "-", call.client.name or "-", time.monotonic() - call.started, tokens, call.id,
            f" {call.problem}" if call.problem else "",
        )  # fmt: skip


def application(gateway: Gateway, cors: dict[str, Any] | None = None) -> Any:
    """Return an endpoint as an ASGI application.

    Args:
        gateway: what its calls share.
        cors: the arguments of Starlette's `CORSMiddleware`; None where no other origin may ask.
    """
    by_pattern: dict[str, dict[str, Endpoint]] = {}
    for path in PATHS:
        endpoint = Endpoint(gateway, path.wire, path.handle, path.pattern, free=path.free)
        by_pattern.setdefault(path.pattern, {})[path.method] = endpoint
    app: Any = _Paths({pattern: _Methods(gateway, found) for pattern, found in by_pattern.items()})
    app.others.default = _Methods(gateway, {})
    return CORSMiddleware(app, **cors) if cors else app


class _Paths:
    """Finds the methods of a path: most by one look-up, those with a part that varies by Starlette's router.

    OpenAI's are found without their /v1, too: clients are often told the URL without it.
    """

    def __init__(self, by_pattern: dict[str, _Methods]) -> None:
        short = {pattern.removeprefix("/v1"): methods for pattern, methods in by_pattern.items()}
        known = {**short, **by_pattern}
        self._fixed = {pattern: methods for pattern, methods in known.items() if "{" not in pattern}
        self.others = Router([Route(pattern, methods) for pattern, methods in known.items() if "{" in pattern])
        self.others.redirect_slashes = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one call."""
        path = scope.get("path", "")
        if path not in self._fixed and (path.endswith("/") or "//" in path):  # of a base URL that ends in a slash
            path = "/" + "/".join(filter(None, path.split("/")))
            scope = {**scope, "path": path}
        await self._fixed.get(path, self.others)(scope, receive, send)


class _Methods:
    """A path, with an endpoint for each of its methods; others are answered in the wire's own form."""

    def __init__(self, gateway: Gateway, by_method: dict[str, Endpoint]) -> None:
        self._gateway = gateway
        self._by_method = by_method

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        endpoint = self._by_method.get("GET" if scope["method"] == "HEAD" else scope["method"])
        if endpoint is None and self._by_method:
            known = next(iter(self._by_method.values()))
            endpoint = Endpoint(self._gateway, known.wire, wrong_method, known.path)
            scope = {**scope, "allowed": ", ".join(self._by_method)}
        elif endpoint is None:
            wire = ANTHROPIC if b"anthropic-version" in dict(scope["headers"]) else OPENAI
            endpoint = Endpoint(self._gateway, wire, unknown_path, "")
        await endpoint(scope, receive, send)
