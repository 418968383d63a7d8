"""What `overhead.py` measures with: a provider, a private Ray, and three ways from a prompt to an answer."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loads import Way

if TYPE_CHECKING:  # Ray reads the environment when it is imported, and that is made here first
    from byzer_magic.client.manager import Manager
    from byzer_magic.types import ChatRequest

ALIAS = "bench"


def say(text: str) -> None:
    """Report the progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def provider() -> Iterator[str]:
    """Yield the base URL of a running provider; it ends with this process, however that ends."""
    command = [sys.executable, str(Path(__file__).with_name("provider.py"))]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes) as process:  # a Ctrl-C is not for it
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        process.terminate()


@contextlib.contextmanager
def private_ray() -> Iterator[Manager]:
    """Yield a manager with a private Ray, which is stopped afterwards."""
    folder = tempfile.mkdtemp(prefix="bz", dir="/tmp")  # short: Ray puts Unix sockets below it
    for name in ("RAY_ADDRESS", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID"):
        os.environ.pop(name, None)
    os.environ |= {"RAY_TMPDIR": folder, "BYZER_LOCAL_CPUS": "4", "BYZER_START_SECONDS": "120"}
    from byzer_magic.actions.terminal import Terminal
    from byzer_magic.client.manager import Manager

    manager = Manager(reporter=Terminal())
    try:
        manager.ensure()
        yield manager
    finally:
        manager.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def sdk_way(client: Any) -> Way:
    """Return the way through an `openai.AsyncOpenAI`: typed objects, as its users have them."""

    async def ask(prompt: str, *, stream: bool = False) -> AsyncIterator[str]:
        messages = [{"role": "user", "content": prompt}]
        answer = await client.chat.completions.create(model="tiny", messages=messages, stream=stream)
        if not stream:
            yield answer.choices[0].message.content or ""
            return
        async for chunk in answer:
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""

    return ask


def request(prompt: str, *, stream: bool = False) -> ChatRequest:
    """Return a prompt as a request."""
    from byzer_magic.types import ChatRequest, Message

    return ChatRequest(messages=[Message("user", prompt)], stream=stream)


class Ways:
    """The three ways; `deployed` makes its deployment, 4 workers of 16 slots."""

    def __init__(self, manager: Manager, url: str) -> None:
        self.manager = manager
        self._url = url
        self._close: list[Callable[[], Awaitable[None]]] = []

    def open(self) -> dict[str, Way]:
        """Return the ways by name."""
        self.deploy(ALIAS, workers=4, cpus=0.001)
        sdk = self.manager.run(self._sdk())
        return {"direct": self.manager.run(self._direct()), "deployed": self._deployed, "typed SDK": sdk}

    def close(self) -> None:
        """Close what this process has opened."""
        for close in self._close:
            self.manager.run(close())  # type: ignore[arg-type]  # coroutines all

    def _plan(self, alias: str, workers: int, cpus: float, slots: int = 16) -> Any:
        from byzer_magic.commands.spec import DeploySpec

        spec = DeploySpec(
            model=alias,
            pretrained_model_type="saas/openai",
            num_workers=workers,
            worker_concurrency=slots,
            cpus_per_worker=cpus,
            infer_params={"saas.base_url": self._url, "saas.model": "tiny", "saas.api_key": "sk-bench"},
        )
        return self.manager.plan(spec)

    def deploy(self, alias: str, workers: int, cpus: float, slots: int = 16) -> tuple[float, int]:
        """Deploy; return how long it took, and the pool's pid."""
        started = time.perf_counter()
        events = list(self.manager.iterate(self.manager.deploy(self._plan(alias, workers, cpus, slots))))
        seconds = time.perf_counter() - started
        return seconds, next(event.pid for event in events if hasattr(event, "pid"))

    def undeploy(self, alias: str) -> None:
        """Remove a deployment at once."""
        from byzer_magic.commands.spec import UndeploySpec

        self.manager.run(self.manager.undeploy(UndeploySpec(model=alias, force=True)))

    async def _deployed(self, prompt: str, *, stream: bool = False) -> AsyncIterator[str]:
        async for item in self.manager.ask(ALIAS, request(prompt, stream=stream)):
            yield getattr(item, "text", "")

    async def _direct(self) -> Way:
        """Return the very backend of the deployment, opened in this process."""
        plan = self._plan(ALIAS, 4, 0)
        backend: Any = await plan.backend.open(plan.setup, lambda *_: None)
        self._close.append(backend.close)

        async def ask(prompt: str, *, stream: bool = False) -> AsyncIterator[str]:
            async for chunk in backend.chat(request(prompt, stream=stream)):
                yield chunk.text

        return ask

    async def _sdk(self) -> Way:
        """Return the SDK as its users have it, over its faster transport."""
        import openai

        client = openai.AsyncOpenAI(api_key="k", base_url=self._url, http_client=openai.DefaultAioHttpClient())
        self._close.append(client.close)
        return sdk_way(client)
