"""Models through vLLM, one engine per worker: many requests at once, each batched with the others token by token.

Requests go through the serving classes of `vllm serve`, inside the worker's process: chat templates, tools, reasoning,
structured outputs and limits are vLLM's own. Settings are its engine's arguments:
https://docs.vllm.ai/en/latest/configuration/engine_args/
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, Self

from byzer_magic.backends.base import PREFIX, Backend, Info, Report, Setup
from byzer_magic.backends.engine import loading
from byzer_magic.backends.http.errors import ErrorResponse
from byzer_magic.backends.local.vllm import engine as vllm_engine, params as vllm_params, progress as vllm_progress
from byzer_magic.backends.local.vllm.adapters import Adapters
from byzer_magic.backends.openai import schema as openai_schema
from byzer_magic.capabilities import Capability, Trait
from byzer_magic.errors import BadParameter, BadRequest, ContextTooLong, ProviderError, StreamTruncated, suggest
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.local_models import files
from byzer_magic.local_models.engine_facts import MB, EngineFacts, MemoryFacts
from byzer_magic.log import get_logger
from byzer_magic.media import pixels
from byzer_magic.types import ChatChunk, ChatRequest, EmbeddingBatch, EmbedRequest, Usage

log = get_logger("vllm")

EMBED_BATCH = 256
"""Texts that are given to the engine at once; it batches them itself."""
CLOSE_SECONDS = 5.0
FORMATS = ("transformers", "sentence-transformers", "gguf")


class VllmBackend(Backend):
    """Chat with, or embed by, a model that vLLM runs."""

    info: ClassVar[Info] = Info(
        kind="custom/auto (vllm)",
        title="vLLM",
        params=vllm_params.params(),
        extra="vllm",
        capabilities=frozenset({Capability.CHAT, Capability.TOOLS, Capability.EMBED}),
        traits=frozenset({Trait.JSON_MODE, Trait.SEVERAL}),
        engine=EngineFacts(
            packages=(vllm_engine.PACKAGE,),
            formats=FORMATS,
            auto={"transformers": 10},  # it batches requests, so it is preferred to transformers
            context_param="backend.max_model_len",
            memory=MemoryFacts(
                overhead_bytes=2900 * MB,
                narrows_float32=True,
                least_cache_bytes=vllm_engine.LEAST_CACHE,
                context=vllm_engine.CPU_CONTEXT,
                full_context_on_gpu=True,
                gpu_share=vllm_engine.SHARE,
                share_param=f"{PREFIX}gpu_memory_utilization",
                answers_on_cpu=vllm_engine.FULL_ANSWERS,
            ),
        ),
    )

    takes_adapters = True

    def __init__(self, running: vllm_engine.Running, defaults: Mapping[str, Any], adapters: Adapters) -> None:
        self._running = running
        self._defaults = defaults
        self._adapters = adapters
        self._numbers = itertools.count()
        self._watch = asyncio.create_task(self._die_with_the_engine())

    async def _die_with_the_engine(self) -> None:
        """End this process when the engine's process has died: the pool notices and starts another worker."""
        while not self._running.engine.errored:  # noqa: ASYNC110 - vLLM has nothing to wait for
            await asyncio.sleep(vllm_engine.LOOK_SECONDS)
        log.error("vLLM's engine process has died; this worker exits")
        os._exit(1)

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check that the files are a complete model and that values are among vLLM's choices."""
        weights = files.inspect(setup.model_path)
        if weights.format not in FORMATS:
            raise BadParameter(
                _("{path} is a {format} model, which vLLM cannot load.", path=weights.path, format=weights.format),
                _("Leave --infer_backend out."),
            )
        if weights.format != "gguf" and not any(setup.params.get(f"{PREFIX}{name}") for name in _NO_TOKENIZER):
            files.need_tokenizer(weights)
        for name, value in setup.params.items():
            vllm_params.checked(name.removeprefix(PREFIX), value)
        arguments = vllm_engine.arguments(setup, weights)
        if vllm_engine.on_gpu(setup):
            _check_ranks(arguments, setup.gpus)

    @classmethod
    def notes(cls, setup: Setup) -> list[str]:
        """Return what CUDA graphs would bring, unless the user has decided about them."""
        if not vllm_engine.on_gpu(setup) or f"{PREFIX}enforce_eager" in setup.params:
            return []
        text = _(
            "CUDA graphs are off, as in byzer-llm: vLLM starts sooner and takes less memory. "
            "backend.enforce_eager=false compiles the model and captures graphs first, and then answers faster, above "
            "all small models with few requests at once."
        )
        return [text]

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Start the engine's processes and load the model.

        Raises:
            EngineFailed: vLLM could not; the message is the cause that its processes wrote.
        """
        weights = files.inspect(setup.model_path)
        threads = loading.prepare_environment(setup.cpus)
        vllm_engine.set_environment(threads, setup)
        with loading.captured_output() as output:
            try:
                report(_("importing vllm"), None)
                await asyncio.to_thread(vllm_engine.load_package)
                stage = _("loading {name}", name=weights.path.name)
                with loading.watched(report, stage, weights.size, lambda: vllm_progress.stage(output())):
                    running = await vllm_engine.start(setup, weights)
            except Exception as err:  # the engine's code may raise anything
                why = loading.cause(output())
                raise loading.failed("vLLM", weights.path, _error(err, why), vllm_progress.hint) from err
        defaults = openai_schema.defaults(setup.params, vllm_params.SAMPLING)
        return cls(running, defaults, Adapters(running, setup.params, weights.path))

    async def close(self) -> None:
        """End the engine's processes."""
        self._watch.cancel()
        await asyncio.to_thread(self._running.engine.shutdown, CLOSE_SECONDS)

    def capabilities(self) -> frozenset[Capability]:
        """Return what the model that is loaded can do."""
        return self._running.capabilities

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the response as it is generated; closing the iterator removes the request from the engine's batch.

        Raises:
            ContextTooLong: prompt and response do not fit into max_model_len.
            BadRequest: vLLM does not accept the request; the message quotes its reason.
        """
        async with aclosing(self._stream(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        finished = False
        try:
            answer = await self._running.chat(await self._body(request))
            async with aclosing(answer) as events:
                async for event in events:
                    data = event.removeprefix("data: ").strip()
                    if (
                        data
                        and data != "[DONE]"
                        and (chunk := openai_schema.chunk_of(openai_schema.decode(data.encode())))
                    ):
                        finished = finished or chunk.finish is not None
                        yield chunk
        except ErrorResponse as fault:
            raise _refusal(fault.error) from None
        except self._running.refusals as err:
            raise _refusal({"message": loading.sentence(err)}) from err
        if not finished:
            raise StreamTruncated(
                _("vLLM stopped before the response was complete."), _("Send the request again; see %byzer logs.")
            )

    async def _body(self, request: ChatRequest) -> dict[str, Any]:
        asked = {name: value for name, value in request.options.items() if value is not None}
        asked |= asked.pop("extra_body", {})
        if (lora := asked.pop("lora", None)) is not None:
            asked["model"] = await self._adapters.name(lora)
        for name in asked:
            if name not in self._running.options:
                raise BadRequest(
                    _("vLLM has no option {name!r}.", name=name),
                    suggest(name, self._running.options, _("Leave the option out.")),
                )
        stream = {"stream": True, "stream_options": {"include_usage": True}}
        pixels.check(request.messages)
        return {**self._defaults, **asked, **stream, "messages": openai_schema.messages(request.messages)}

    async def embed(self, request: EmbedRequest) -> AsyncIterator[EmbeddingBatch]:
        """Yield the embeddings of the texts in batches, normalized as the model's configuration specifies.

        Raises:
            ContextTooLong: a text is longer than max_model_len.
        """
        asked = dict(request.options)
        dimensions = asked.pop("dimensions", None)
        asked.pop("encoding_format", None)
        if asked:
            raise BadRequest(
                _("vLLM has no option {name!r} for embeddings.", name=next(iter(asked))), _("Options: dimensions.")
            )
        for start in range(0, len(request.texts), EMBED_BATCH):
            texts = request.texts[start : start + EMBED_BATCH]
            try:
                found = await asyncio.gather(*(self._embedding(text, dimensions) for text in texts))
            except self._running.refusals as err:
                raise _refusal({"message": loading.sentence(err)}) from err
            data = b"".join(row for row, _ in found)
            yield EmbeddingBatch(start, len(found[0][0]) // 4, data, Usage(sum(count for _, count in found)))

    async def _embedding(self, text: str, dimensions: int | None) -> tuple[bytes, int]:
        return await self._running.embedding(text, dimensions, f"embed-{next(self._numbers)}")


def _check_ranks(arguments: Mapping[str, Any], gpus: float) -> None:
    """Check that the worker has a GPU for each process that shares the model, unless they are elsewhere in Ray."""
    sizes = {name: int(arguments.get(name) or 1) for name in ("tensor_parallel_size", "pipeline_parallel_size")}
    ranks = math.prod(sizes.values())
    if ranks <= max(1, gpus) or arguments.get("distributed_executor_backend") == "ray":
        return
    asked = {name: size for name, size in sizes.items() if size > 1}
    raise BadParameter(
        _("{prefix}{name} is {size}, but the worker has {gpus:g} GPUs.",
          prefix=PREFIX, name=next(iter(asked)), size=next(iter(asked.values())), gpus=gpus),
        _("Add --gpus_per_worker {value}.", value=ranks),
    )  # fmt: skip


_NO_TOKENIZER = ("tokenizer", "skip_tokenizer_init")


def _error(err: BaseException, why: str) -> BaseException:
    """Return the error to explain: what the engine's process wrote, where the exception only states that it failed."""
    return RuntimeError(why) if why and "initialization failed" in str(err) else err


def _refusal(error: Mapping[str, Any]) -> Exception:
    text = " ".join(str(error.get("message", error)).split())
    if "maximum context length" in text or "longer than the maximum" in text:
        return ContextTooLong(text, _("Shorten the conversation, or deploy with a larger backend.max_model_len."))
    if int(error.get("code") or 400) >= 500:
        return ProviderError(_("vLLM failed: {text}", text=text), _("See %byzer logs."))
    return BadRequest(_("vLLM rejected the request: {text}", text=text), _("Change the request accordingly."))


BACKEND = VllmBackend
