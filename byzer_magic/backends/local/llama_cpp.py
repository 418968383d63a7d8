"""GGUF models through llama.cpp, one process per worker.

Two packages can drive it, with the same parameters: llama-cpp-python is taken when it is installed (it is compiled
for the machine), xllamacpp otherwise (it comes ready-made); `driver=` decides. Parameters are those of
`llama_cpp.Llama`: https://llama-cpp-python.readthedocs.io/en/latest/api-reference/#llama_cpp.Llama.
"""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, Self

import msgspec

from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.backends.weights import gguf
from byzer_magic.backends.weights.blocking import Emit, Turns
from byzer_magic.backends.weights.llama_drivers import (
    XLLAMACPP_SETTINGS,
    Driver,
    LlamaCppPython,
    Load,
    XLlamaCpp,
    context_too_long,
)
from byzer_magic.backends.weights.llama_params import BATCH, CHAT, CONTEXT, LOADING, PARAMS
from byzer_magic.backends.weights.loading import cpu_threads
from byzer_magic.backends.wires import openai_shapes as wire
from byzer_magic.backends.wires.failures import Fault
from byzer_magic.capabilities import Capability
from byzer_magic.errors import (
    BadParameter,
    BadRequest,
    ByzerError,
    EngineFailed,
    MissingExtra,
    ProviderError,
    StreamTruncated,
)
from byzer_magic.types import ChatChunk, ChatRequest, Usage

DRIVERS: dict[str, tuple[str, Callable[[Load], Driver], str]] = {
    "llama-cpp-python": ("llama_cpp", LlamaCppPython, "pip install 'byzer-magic[llama-cpp-python]'"),
    "xllamacpp": ("xllamacpp", XLlamaCpp, "pip install 'byzer-magic[llama]'"),
}
"""Import name, class and install line of each driver, the preferred one first."""


class LlamaCppBackend(Backend):
    """Chat with a local GGUF model."""

    info: ClassVar[Info] = Info(
        kind="custom/auto (llama_cpp)",
        title="llama.cpp",
        params=(
            *PARAMS,
            Param(name="driver", help="the package that drives llama.cpp", choices=tuple(DRIVERS)),
        ),
        requires=("llama_cpp", "xllamacpp"),
        extra="llama",
        capabilities=frozenset({Capability.CHAT, Capability.TOOLS}),
        local=True,
    )

    def __init__(self, driver: Driver, defaults: Mapping[str, Any]) -> None:
        self._driver = driver
        self._defaults = defaults
        self._turns = Turns("llama", driver.parallel)

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check that the model file is there and is one, and that the chosen driver knows the parameters."""
        gguf.find(setup.model_path)
        if setup.params.get("driver") == "xllamacpp":
            _check_xllamacpp(setup.params)

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Load the model in a thread, so that the event loop stays responsive.

        Raises:
            EngineFailed: llama.cpp cannot load the file.
            MissingExtra: the package that `driver` asks for is not installed.
        """
        name = driver_name(setup.params)
        load = _load(setup)
        report(f"reading {load.path.name} ({load.path.stat().st_size // 10**6} MB) with {name}", None)
        driver = await asyncio.to_thread(_loaded, name, load)
        report("model read", 1.0)
        defaults = {name: setup.params[name] for name in CHAT if name in setup.params}
        if "stop" in defaults:
            defaults["stop"] = wire.text_or_json(defaults["stop"])
        return cls(driver, defaults)

    async def close(self) -> None:
        """Stop what runs, then free the model."""
        await self._turns.close()
        await asyncio.to_thread(self._driver.close)

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the answer as it is made; closing the iterator returns when the model is free again.

        Raises:
            ContextTooLong: the prompt does not fit into `n_ctx`.
            BadRequest: the model or its driver cannot do what is asked.
        """
        body = self._body(request)
        async with aclosing(self._generate(body)) as chunks:
            if request.stream:
                async for chunk in chunks:
                    yield chunk
            else:
                yield _merged([chunk async for chunk in chunks])

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        asked = {name: value for name, value in request.options.items() if value is not None}
        if "max_completion_tokens" in asked:
            asked["max_tokens"] = asked.pop("max_completion_tokens")
        return {**self._defaults, **asked, "messages": wire.messages(request.messages)}

    async def _generate(self, body: dict[str, Any]) -> AsyncGenerator[ChatChunk, None]:
        def work(emit: Emit, stopped: threading.Event) -> None:
            self._driver.generate(body, emit, stopped)

        finished = False
        async with aclosing(self._turns.run(work)) as items:
            try:
                async for item in items:
                    chunk = _chunk(item)
                    if chunk:
                        finished = finished or chunk.finish is not None
                        yield chunk
            except ByzerError:
                raise
            except Exception as err:
                raise ProviderError(f"llama.cpp failed: {' '.join(str(err).split())}", "See %byzer logs.") from err
        if not finished:
            raise StreamTruncated("llama.cpp stopped before the answer was complete.", "Ask again; see %byzer logs.")


def _chunk(item: dict[str, Any]) -> ChatChunk | None:
    """Return what a driver emitted as our chunk, or raise it as our error."""
    try:
        return wire.chunk_of(wire.checked(msgspec.convert(item, wire.Body)))
    except Fault as fault:
        raise _refusal(fault.error) from fault


def _refusal(error: Mapping[str, Any]) -> ByzerError:
    if error.get("type") == "exceed_context_size_error":
        return context_too_long(error["n_prompt_tokens"], error["n_ctx"])
    kind = BadRequest if error.get("code") == 400 else ProviderError
    return kind(f"llama.cpp did not answer: {error.get('message', error)}", "Change what the message names.")


def _merged(chunks: list[ChatChunk]) -> ChatChunk:
    """Return the chunks of an answer as one (tool calls stay deltas: their reader joins them by index)."""
    usage: Usage | None = next((chunk.usage for chunk in chunks if chunk.usage), None)
    calls = [call for chunk in chunks for call in chunk.tool_calls or []]
    return ChatChunk(
        text="".join(chunk.text for chunk in chunks),
        reasoning="".join(chunk.reasoning for chunk in chunks),
        finish=next((chunk.finish for chunk in chunks if chunk.finish), None),
        usage=usage,
        tool_calls=calls or None,
    )


def driver_name(params: Mapping[str, Any]) -> str:
    """Return the driver that is asked for, or else the first that is installed.

    Raises:
        MissingExtra: it is not installed; the hint is the line that installs it.
    """
    wanted = [params["driver"]] if "driver" in params else list(DRIVERS)
    for name in wanted:
        if importlib.util.find_spec(DRIVERS[name][0]):
            return name
    raise MissingExtra(f"{' or '.join(wanted)} is not installed.", f"Run: {DRIVERS[wanted[-1]][2]}")


def _check_xllamacpp(params: Mapping[str, Any]) -> None:
    for name in LOADING:
        if name in params and name not in XLLAMACPP_SETTINGS:
            raise BadParameter(f"xllamacpp has no {name}.", "Add driver=llama-cpp-python, or leave it out.")


def _load(setup: Setup) -> Load:
    path = gguf.find(setup.model_path)
    settings = {name: setup.params[name] for name in LOADING if name in setup.params}
    settings.setdefault("n_ctx", min(CONTEXT, gguf.context_length(path) or CONTEXT))
    if settings["n_ctx"] == 0:
        settings["n_ctx"] = gguf.context_length(path) or 0
    settings.setdefault("n_batch", BATCH)
    settings.setdefault("n_threads", cpu_threads(setup.cpus))
    settings.setdefault("n_threads_batch", settings["n_threads"])
    return Load(path=path, settings=settings, parallel=max(1, setup.concurrency))


def _loaded(name: str, load: Load) -> Driver:
    kind = DRIVERS[name][1]
    if name == "xllamacpp":
        _check_xllamacpp(load.settings)
    try:
        return kind(load)
    except (ValueError, RuntimeError, OSError, AssertionError) as err:
        reason = gguf.damage(load.path)
        if reason:
            hint = "Download it again."
        else:
            reason = " ".join(str(err).split())
            hint = (
                "Add verbose=true and read %byzer logs; the model may be too new for this llama.cpp, or memory short."
            )
        raise EngineFailed(f"llama.cpp cannot load {load.path}: {reason}.", hint) from err


BACKEND = LlamaCppBackend
