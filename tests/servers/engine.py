"""An engine in a separate process, as a worker runs it, without Ray: for engines that a test process cannot host.

Run: python -m tests.servers.engine   (stdin: a JSON object per engine, with kind, path of its socket, and given: params
and model_path, concurrency, ... of `Setup`)
"""

from __future__ import annotations

import asyncio
import functools
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from byzer_magic.capabilities import TABLE, Capability
from byzer_magic.runtime.cluster.ray_import import child_environment
from byzer_magic.runtime.garbage import relax_collector
from byzer_magic.runtime.transport import messages, protocol
from byzer_magic.runtime.transport.client import Link
from byzer_magic.runtime.transport.server import Server
from byzer_magic.types import Loading
from tests.conftest import short_folder

TOKEN = "of-the-test"


class Remote:
    """The engine as a test sees it: its capabilities are async iterators, as a backend's are."""

    def __init__(self, link: Link, capabilities: list[str], process: _Process) -> None:
        self._link = link
        self._capabilities = capabilities
        self.process = process
        for capability in TABLE:
            setattr(self, capability.value, functools.partial(link.stream, capability.value))

    def capabilities(self) -> set[Capability]:
        """Return what the engine reported once it was open."""
        return set(map(Capability, self._capabilities))

    async def unfinished(self) -> int:
        """Return how many requests vLLM works on."""
        return int(await self._link.call("logs", messages.LogsRequest(0)))


class _Process:
    """A process that opens the engines it is told to on stdin."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "engine.log"
        self._scratch = short_folder()  # for the sockets that vLLM leaves behind
        with self.log.open("w") as log:
            command = [sys.executable, "-m", "tests.servers.engine"]
            env = child_environment({**os.environ, "TMPDIR": self._scratch.name})
            self._popen = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.PIPE, text=True, env=env)

    def tell(self, **engine: Any) -> None:
        """Have it open an engine."""
        assert self._popen.stdin
        self._popen.stdin.write(json.dumps(engine) + "\n")
        self._popen.stdin.flush()

    def end(self) -> None:
        """End it by its pid, without a bound of its own: a busy machine takes long to free a gigabyte of memory.

        Its engines are closed by now, or have never opened, so that it has nothing left to do.
        """
        assert self._popen.stdin
        self._popen.kill()
        self._popen.wait()
        self._popen.stdin.close()
        self._scratch.cleanup()


@asynccontextmanager
async def hosted(
    kind: str, params: dict[str, str], folder: Path, *, beside: Remote | None = None, **more: Any
) -> AsyncIterator[Remote]:
    """Start an engine, wait until it has opened, and end it.

    Args:
        kind: what it is, such as `custom/auto@vllm`.
        params: as in `--infer_params`.
        folder: where its socket is.
        beside: an engine whose process opens this one, too: importing an engine takes longer than most tests.
        more: fields of `Setup`.

    Raises:
        ByzerError: it could not open.
    """
    path = folder / "e.sock"
    process = beside.process if beside else _Process(folder)
    process.tell(kind=kind, path=str(path), given={"params": params, **more})
    link = Link("the engine", functools.partial(_endpoint, path))
    try:
        opened = None
        async for event in link.stream("open"):
            opened = event
        assert isinstance(opened, messages.Opened), process.log.read_text()[-2000:]
        try:
            yield Remote(link, opened.capabilities, process)
        finally:
            await link.call("undeploy", messages.UndeployRequest(0))
    finally:
        await link.close()
        if not beside:
            process.end()


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
        yield messages.Opened(sorted(self._backend.capabilities()), "", 0)

    async def ask(self, capability: Capability, request: Any) -> AsyncIterator[Any]:
        items = self._backend.ask(capability, request)
        try:
            async for item in items:
                yield item
        finally:
            await items.aclose()

    async def unfinished(self, _: Any) -> AsyncIterator[str]:
        yield str(self._backend._running.engine.output_processor.get_num_unfinished_requests())

    async def close(self, _: Any) -> AsyncIterator[messages.UndeployResult]:
        backend, self._backend = self._backend, None
        if backend is not None:
            await backend.close()
        yield messages.UndeployResult(0, [])


def _fork_processes() -> None:
    """Let the engine's processes be forks of this one, which has imported what each would import for ten seconds.

    On a CPU, vLLM insists on starting them anew. tests/ray has it do so, as at the users'.
    """
    contexts: Any = multiprocessing.context
    contexts._concrete_contexts["spawn"] = multiprocessing.get_context("fork")


async def main() -> None:
    """Open the engines that stdin names, a JSON object per line, until it is killed, or the end of stdin."""
    relax_collector()
    _fork_processes()
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(functools.partial(asyncio.StreamReaderProtocol, lines), sys.stdin)
    started = []
    while line := await lines.readline():
        engine = json.loads(line)
        host = _Host(engine["kind"], engine["given"])
        methods = {capability.value: functools.partial(host.ask, capability) for capability in TABLE}
        methods |= {"open": host.open, "logs": host.unfinished, "undeploy": host.close}
        service = Server(methods, path=Path(engine["path"]), host="127.0.0.1", token=TOKEN)
        await service.start(tcp=False)
        started.append(service)


if __name__ == "__main__":
    asyncio.run(main())
