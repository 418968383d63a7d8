"""One client process: `python -m comparison.client KIND [ARGUMENT ...]`, in the environment of its way.

It reads a command per line, an object with what to ``do`` and its arguments, and answers each with a line that begins
with MARK; what libraries print is between those.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, is_dataclass
from typing import Any

import loads
from loads import Way

MARK = "@@"
LOADS = {"rest": loads.one_by_one, "load": loads.in_flight, "streams": loads.streams}


class Raw:
    """aiohttp alone, to a provider or to a server in between."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def open(self) -> Way:
        from comparison.raw import raw_way, session

        self._session = session()
        return raw_way(self._session, self._url)

    def close(self) -> None:
        pass


class Sdk:
    """The official SDK over httpx or aiohttp."""

    def __init__(self, url: str, transport: str) -> None:
        self._url, self._transport = url, transport

    async def open(self) -> Way:
        import openai
        from ways import sdk_way

        more: dict[str, Any] = {"http_client": openai.DefaultAioHttpClient()} if self._transport == "aiohttp" else {}
        return sdk_way(openai.AsyncOpenAI(api_key="k", base_url=self._url, max_retries=0, timeout=60, **more))

    def close(self) -> None:
        pass


class Joined:
    """byzer-magic as in one more notebook: connected, and asking an alias that another one has deployed."""

    def __init__(self) -> None:
        from ways import ALIAS

        import byzer_magic

        byzer_magic.connect()
        self.manager = byzer_magic.default_manager()
        self.use(ALIAS)

    async def open(self) -> Way:
        async def ask(prompt: str, *, stream: bool = False) -> AsyncIterator[str]:
            if not stream:
                yield (await self._model.achat(prompt)).text
                return
            async for chunk in self._model.astream(prompt):
                yield chunk.text

        return ask

    def use(self, alias: str) -> None:
        """Ask this alias from now on."""
        import byzer_magic

        self._model = byzer_magic.model(alias)

    def close(self) -> None:
        pass


class Ours(Joined):
    """byzer-magic with a local Ray of its own: deploys, asks, and stops that Ray at the end."""

    def __init__(self, url: str) -> None:
        from ways import ALIAS, Ways

        super().__init__()
        self._ways = Ways(self.manager, url)
        self.deploy(ALIAS, 4, 16)

    def deploy(self, alias: str, workers: int, slots: int) -> dict[str, float]:
        """Deploy; return the seconds, and the pid of the pool."""
        seconds, pid = self._ways.deploy(alias, workers, 0.0001, slots)
        return {"seconds": seconds, "pid": pid}

    def undeploy(self, alias: str) -> None:
        """Remove a deployment at once."""
        self._ways.undeploy(alias)

    def close(self) -> None:
        self.manager.shutdown()


class Serve:
    """Ray Serve through a handle; the Ray and the HTTP ingress belong to this process."""

    def __init__(self, url: str, port: str) -> None:
        import ray
        from ray import serve

        from comparison.serve_app import Proxy

        ray.init(
            address="local", num_cpus=8, include_dashboard=False, object_store_memory=128 << 20, log_to_driver=False,
            configure_logging=False,
        )  # fmt: skip
        quiet = {"enable_access_log": False, "log_level": "ERROR"}
        serve.start(http_options={"host": "127.0.0.1", "port": int(port)}, logging_config=quiet)
        handle = serve.run(Proxy.options(logging_config=quiet).bind(url), name="bench", route_prefix="/")
        self._ask = handle.options(method_name="ask")
        self._stream = handle.options(method_name="tokens", stream=True)

    async def open(self) -> Way:
        from comparison.raw import body

        async def ask(prompt: str, *, stream: bool = False) -> AsyncIterator[str]:
            if not stream:
                yield await self._ask.remote(body(prompt, stream=False))
                return
            async for text in self._stream.remote(body(prompt, stream=True)):
                yield text

        return ask

    def close(self) -> None:
        import ray
        from ray import serve

        serve.shutdown()
        ray.shutdown()


KINDS = {"raw": Raw, "sdk": Sdk, "joined": Joined, "ours": Ours, "serve": Serve}


def tell(**answer: Any) -> None:
    """Answer a command."""
    print(MARK + json.dumps(answer), flush=True)


async def under(way: Way, load: str, arguments: dict[str, Any]) -> Any:
    """Put a load on a way, after a pause in which connections that the other side has closed are noticed."""
    await asyncio.sleep(0.05)
    for _ in range(3):
        with contextlib.suppress(Exception):
            await loads.ask(way, "hi")
            break
    return await LOADS[load](way, **arguments)


def main() -> None:
    """Open the way, then do what the lines say."""
    started = time.perf_counter()
    client: Any = KINDS[sys.argv[1]](*sys.argv[2:])
    with asyncio.Runner() as runner:
        way = runner.run(client.open())
        tell(result={"seconds": time.perf_counter() - started})
        for line in sys.stdin:
            command = json.loads(line)
            do = command.pop("do")
            try:
                load = do in LOADS
                result = runner.run(under(way, do, command)) if load else getattr(client, do)(**command)
                tell(result=asdict(result) if is_dataclass(result) else result)
            except Exception as err:  # noqa: BLE001 - whatever it is, that figure is missing and says so
                tell(failed=f"{type(err).__name__}: {err}"[:500])
        client.close()
    os._exit(0)  # threads of libraries do not hold it up


if __name__ == "__main__":
    main()
