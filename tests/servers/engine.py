"""An engine in a separate process, as a worker runs it, without Ray: for engines that a test process cannot host.

Run: python -m tests.servers.engine KIND SOCKET JSON   (JSON: params, model_path, concurrency, ... of `Setup`)
"""

from __future__ import annotations

import asyncio
import functools
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from byzer_magic.capabilities import TABLE, Capability
from byzer_magic.runtime.transport import protocol
from byzer_magic.runtime.transport.client import Link
from byzer_magic.runtime.transport.server import Server
from byzer_magic.types import Loading

TOKEN = "of-the-test"


class Remote:
    """The engine as a test sees it: its capabilities are async iterators, as a backend's are."""

    def __init__(self, link: Link, capabilities: list[str]) -> None:
        self._link = link
        self._capabilities = capabilities
        for capability in TABLE:
            setattr(self, capability.value, functools.partial(link.stream, capability.value))

    def capabilities(self) -> set[Capability]:
        """Return what the engine reported once it was open."""
        return set(map(Capability, self._capabilities))

    async def unfinished(self) -> int:
        """Return how many requests vLLM works on."""
        return int(await self._link.call("logs", protocol.LogsRequest(0)))


@asynccontextmanager
async def hosted(
    kind: str, params: dict[str, str], folder: Path, stages: list[Loading] | None = None, **more: Any
) -> AsyncIterator[Remote]:
    """Start an engine, wait until it has opened, and end it by its pid.

    Raises:
        ByzerError: it could not open.
    """
    path = folder / "e.sock"
    command = [sys.executable, "-m", "tests.servers.engine", kind, str(path), json.dumps({"params": params, **more})]
    with (folder / "engine.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    link = Link("the engine", functools.partial(_endpoint, path))
    try:
        opened = None
        async for event in link.stream("open"):
            if isinstance(event, Loading) and stages is not None:
                stages.append(event)
            opened = event
        assert isinstance(opened, protocol.Opened), (folder / "engine.log").read_text()[-2000:]
        yield Remote(link, opened.capabilities)
    finally:
        await link.close()
        process.terminate()
        process.wait(20)


async def _endpoint(path: Path) -> protocol.Endpoint:
    return protocol.Endpoint(str(path), "127.0.0.1", 0, TOKEN, "", 0)


class _Host:
    def __init__(self, kind: str, given: dict[str, Any]) -> None:
        self._kind = kind
        self._given = given
        self._backend: Any = None

    async def open(self, _: None) -> AsyncIterator[Any]:
        from byzer_magic.backends import registry
        from tests.backends import setup_of

        backend = registry.find(*self._kind.split("@"))
        stages: list[Loading] = []

        def report(stage: str, fraction: float | None = None, detail: str = "", /) -> None:
            stages.append(Loading(stage, fraction=fraction, detail=detail))

        self._backend = await backend.open(setup_of(backend, self._given.pop("params"), **self._given), report)
        for stage in stages:
            yield stage
        yield protocol.Opened(sorted(self._backend.capabilities()), "", 0)

    async def ask(self, capability: Capability, request: Any) -> AsyncIterator[Any]:
        items = self._backend.ask(capability, request)
        try:
            async for item in items:
                yield item
        finally:
            await items.aclose()

    async def unfinished(self, _: Any) -> AsyncIterator[str]:
        yield str(self._backend._running.engine.output_processor.get_num_unfinished_requests())

    async def close(self) -> None:
        if self._backend is not None:
            await self._backend.close()


async def main(kind: str, path: str, given: str) -> None:
    """Serve until SIGTERM."""
    import signal

    host = _Host(kind, json.loads(given))
    methods = {capability.value: functools.partial(host.ask, capability) for capability in TABLE}
    service = Server(
        {"open": host.open, "logs": host.unfinished, **methods}, path=Path(path), host="127.0.0.1", token=TOKEN
    )
    await service.start(tcp=False)
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
    await done.wait()
    await host.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
