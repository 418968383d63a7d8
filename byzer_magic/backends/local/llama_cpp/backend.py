"""GGUF models through llama.cpp, one process per worker.

Two packages can run it, with the same parameters: llama-cpp-python when it is installed (it is compiled for the
machine), xllamacpp otherwise, and for images and reranking (it is prebuilt, with all of llama.cpp's server);
`driver=` selects one. Parameters are those of `llama_cpp.Llama`:
https://llama-cpp-python.readthedocs.io/en/latest/api-reference/#llama_cpp.Llama
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Self

import msgspec

from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.backends.engine import loading
from byzer_magic.backends.engine.threads import Emit, Turns
from byzer_magic.backends.http.errors import ErrorResponse
from byzer_magic.backends.local.llama_cpp import load as llama_load, requests as llama_requests
from byzer_magic.backends.local.llama_cpp.driver import RANK, Driver, Load
from byzer_magic.backends.local.llama_cpp.driver_xllamacpp import refusal
from byzer_magic.backends.local.llama_cpp.params import BATCH, CHAT, CONTEXT, CONTEXT_UNIT, EMBED_CONTEXT, PARAMS
from byzer_magic.backends.openai import schema as openai_schema
from byzer_magic.capabilities import Capability, Trait
from byzer_magic.errors import BadRequest, StreamTruncated
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.local_models import gguf
from byzer_magic.local_models.engine_facts import CPU, GPU, MB, Distribution, EngineFacts, EnginePackage, MemoryFacts
from byzer_magic.media import pixels
from byzer_magic.types import (
    ENDLESS,
    ChatChunk,
    ChatRequest,
    EmbeddingBatch,
    EmbedRequest,
    Ranking,
    RerankRequest,
    Usage,
)

MOST_TEXTS = 32
MOST_CHARACTERS = 4096
"""Texts, and their total characters, per batch: a cancellation waits for its end."""


_GPU_LIBRARIES = re.compile(r"ggml-(?:cuda|hip|vulkan|metal|sycl)")


def _llama_cpp_python_devices(package: Distribution) -> tuple[str, ...]:
    """Return what a build runs on: GPUs when it has ggml's library for them."""
    gpu = any(_GPU_LIBRARIES.search(item.name) for item in package.folder.glob("lib/*"))
    return (CPU, GPU) if gpu else (CPU,)


def _xllamacpp_devices(package: Distribution) -> tuple[str, ...]:
    """Return what a build runs on: its wheels for GPUs differ in their version alone."""
    return (CPU, GPU) if any(word in package.version for word in ("cu1", "rocm", "vulkan")) else (CPU,)


class LlamaCppBackend(Backend):
    """Chat, embeddings or reranking with a local GGUF model."""

    info: ClassVar[Info] = Info(
        kind="custom/auto (llama_cpp)",
        title="llama.cpp",
        params=(
            *PARAMS,
            Param(name="clip_model_path", help=_("the model's mmproj file, needed for images")),
            Param(name="driver", help=_("package that runs llama.cpp"), choices=tuple(llama_load.DRIVERS)),
        ),
        extra="llama",
        capabilities=frozenset(
            {Capability.CHAT, Capability.TOOLS, Capability.VISION, Capability.EMBED, Capability.RERANK}
        ),
        traits=frozenset({Trait.JSON_MODE}),
        engine=EngineFacts(
            packages=(
                EnginePackage(
                    module="llama_cpp", distributions=("llama-cpp-python",), devices=_llama_cpp_python_devices
                ),
                EnginePackage(module="xllamacpp", devices=_xllamacpp_devices),
            ),
            formats=("gguf",),
            auto={"gguf": 10},
            context_param="n_ctx",
            gpu_params=("n_gpu_layers",),
            memory=MemoryFacts(
                overhead_bytes=200 * MB,
                cache_dtype="float16",
                context=CONTEXT,
                context_unit=CONTEXT_UNIT,
                prompt_batch=BATCH,
                embed_batch=EMBED_CONTEXT,
            ),
        ),
    )

    def __init__(self, driver: Driver, load: Load, defaults: Mapping[str, Any]) -> None:
        self._driver = driver
        self._load = load
        self._defaults = defaults
        self._turns = Turns("llama.cpp", driver.parallel)

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check that the files are models, and that the driver supports the parameters."""
        llama_load.check(setup)

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Load the model in a thread, so that the event loop stays responsive.

        Raises:
            EngineFailed: llama.cpp cannot load the file.
            MissingExtra: the package that `driver` asks for is not installed.
        """
        name, load = llama_load.load_of(setup)
        size = sum(part.stat().st_size for part in gguf.parts(load.path))
        with loading.watched(report, _("loading {name} with {name2}", name=load.path.name, name2=name), size):
            driver = await asyncio.to_thread(llama_load.loaded, name, load)
        report(_("model loaded"), 1.0)
        return cls(driver, load, openai_schema.defaults(setup.params, CHAT))

    async def close(self) -> None:
        """Stop what runs, then free the model."""
        await self._turns.close()
        await asyncio.to_thread(self._driver.close)

    def capabilities(self) -> frozenset[Capability]:
        """Return what the model can do that is loaded."""
        if self._load.settings.get("embedding"):
            ranks = self._load.settings.get("pooling_type") == RANK
            return frozenset({Capability.RERANK if ranks else Capability.EMBED})
        vision = {Capability.VISION} if self._load.mmproj else set()
        return frozenset({Capability.CHAT, Capability.TOOLS, *vision})

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the answer as it is made; closing the iterator returns when the model is free again.

        Raises:
            ContextTooLong: the prompt does not fit into `n_ctx`.
            BadRequest: the model or its driver cannot do what is asked.
        """
        body = self._body(request)
        endless = self._load.base and not body.get("max_tokens")
        async with aclosing(self._generate(body)) as chunks:
            async for chunk in chunks:
                yield msgspec.structs.replace(chunk, extra={**(chunk.extra or {}), **ENDLESS}) if endless else chunk
                endless = False

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        asked = {name: value for name, value in request.options.items() if value is not None}
        asked |= asked.pop("extra_body", {})
        if "max_completion_tokens" in asked:
            asked["max_tokens"] = asked.pop("max_completion_tokens")
        defaults = dict(self._defaults)
        if asked.get("grammar") or asked.get("tools"):
            defaults.pop("response_format", None)  # a request's own field takes precedence
        pixels.check(request.messages)
        messages = openai_schema.messages(request.messages)
        return llama_requests.constrained({**defaults, **asked, "messages": messages})

    async def _generate(self, body: dict[str, Any]) -> AsyncGenerator[ChatChunk, None]:
        def work(emit: Emit, stopped: threading.Event) -> None:
            llama_requests.answer(self._driver, body, emit, stopped)

        finished = False
        async with aclosing(self._turns.run(work)) as items:
            async for item in items:
                chunk = _chunk(item)
                if chunk:
                    finished = finished or chunk.finish is not None
                    yield chunk
        if not finished:
            raise StreamTruncated(
                _("llama.cpp stopped before the response was complete."), _("Send the request again; see %byzer logs.")
            )

    async def embed(self, request: EmbedRequest) -> AsyncIterator[EmbeddingBatch]:
        """Yield the embeddings of the texts in batches, each normalized to length 1 unless `embd_normalize` is -1.

        Raises:
            ContextTooLong: a text is longer than the context.
            BadRequest: a text is empty, or an option is unknown.
        """
        normal = _normal(request.options)
        _check_texts(request.texts)

        def work(emit: Emit, stopped: threading.Event) -> None:
            for start, texts in _batches(request.texts):
                if stopped.is_set():
                    return
                rows, tokens = self._driver.embeddings(texts)
                emit(_batch(start, rows, tokens, normal=normal))

        async with aclosing(self._turns.run(work)) as items:
            async for item in items:
                yield item

    async def rerank(self, request: RerankRequest) -> AsyncIterator[Ranking]:
        """Yield the documents in their order, with the model's scores as they are (not between 0 and 1).

        Raises:
            ContextTooLong: a document is, with the query, longer than the context.
            BadRequest: a text is empty, or an option is unknown.
        """
        options = {name: value for name, value in request.options.items() if value is not None}
        most = options.pop("top_n", len(request.documents))
        if options:
            raise BadRequest(
                _("llama.cpp has no option {name!r} for reranking.", name=next(iter(options))), _("Options: top_n.")
            )
        _check_texts([request.query, *request.documents])
        scores: list[float] = []

        def work(emit: Emit, stopped: threading.Event) -> None:
            for _start, documents in _batches(request.documents):
                if stopped.is_set():
                    return
                emit(self._driver.scores(request.query, documents))

        read = 0
        async with aclosing(self._turns.run(work)) as items:
            async for found, tokens in items:
                scores += found
                read += tokens
        order = sorted(enumerate(scores), key=lambda item: -item[1])
        yield Ranking(order[:most], Usage(read))


def _chunk(item: dict[str, Any]) -> ChatChunk | None:
    """Return what a driver emitted as our chunk, or raise it as our error."""
    try:
        return openai_schema.chunk_of(openai_schema.checked(msgspec.convert(item, openai_schema.Body)))
    except ErrorResponse as fault:
        raise refusal(fault.error) from fault


def _normal(options: Mapping[str, Any]) -> bool:
    """Return whether embeddings are normalized to length 1: llama.cpp's option `embd_normalize`.

    Raises:
        BadRequest: there is another option, or another way to do it.
    """
    asked = {name: value for name, value in options.items() if value is not None and name != "encoding_format"}
    how = asked.pop("embd_normalize", 2)
    if asked:
        raise BadRequest(
            _("llama.cpp has no option {name!r} for embeddings.", name=next(iter(asked))),
            _("Options: embd_normalize."),
        )
    if how not in (-1, 2):
        raise BadRequest(
            _("embd_normalize is {how!r}, which is not supported.", how=how),
            _("Use 2 (normalized to length 1) or -1 (as the model returns them)."),
        )
    return bool(how == 2)


def _check_texts(texts: Sequence[str]) -> None:
    for number, text in enumerate(texts, 1):
        if not text:
            raise BadRequest(
                _("Text {number} of {count_texts} is empty.", number=number, count_texts=len(texts)), _("Leave it out.")
            )


def _batches(texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the texts a few at a time, each batch with the number of its first."""
    start, length = 0, 0
    for number, text in enumerate(texts):
        full = number - start == MOST_TEXTS or length + len(text) > MOST_CHARACTERS
        if full and number > start:
            yield start, list(texts[start:number])
            start, length = number, 0
        length += len(text)
    if texts:
        yield start, list(texts[start:])


def _batch(start: int, rows: list[Any], tokens: int, *, normal: bool) -> EmbeddingBatch:
    import numpy as np  # 70 ms, and only embeddings need it

    table = np.asarray(rows, dtype="<f4")
    if normal:
        lengths = np.linalg.norm(table, axis=1, keepdims=True)
        table = table / np.where(lengths == 0, 1, lengths).astype("<f4")
    return EmbeddingBatch(start, table.shape[1], table.astype("<f4").tobytes(), Usage(tokens))


BACKEND = LlamaCppBackend
