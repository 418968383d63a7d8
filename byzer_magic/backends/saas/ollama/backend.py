"""Ollama by its own API, which has what its OpenAI mode lacks: `num_ctx`, `keep_alive`, `think` and other options.

Fields: https://docs.ollama.com/api (https://github.com/ollama/ollama/blob/main/docs/openapi.yaml); errors, also those
in mid-stream: https://docs.ollama.com/api/errors. A prompt that is too long is cut by Ollama without a word, unless
`truncate` is false in `saas.extra_body`.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Self

from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.backends.http import errors as http_errors, params
from byzer_magic.backends.http.batches import in_order
from byzer_magic.backends.http.client import Http
from byzer_magic.backends.http.media import to_float32
from byzer_magic.backends.saas.ollama import schema
from byzer_magic.capabilities import Capability, methods_of
from byzer_magic.catalog import model_facts
from byzer_magic.errors import BadParameter
from byzer_magic.types import ChatChunk, ChatRequest, EmbeddingBatch, EmbedRequest, Usage

BASE_URL = "http://127.0.0.1:11434"
EMBED_BATCH = 64
"""Texts in one request: Ollama has no limit, but answers only when all are done."""


class OllamaBackend(Backend):
    """Chat and vectors over one HTTP session; an instance serves all slots of a pool."""

    info: ClassVar[Info] = Info(
        kind="saas/ollama",
        title="Ollama's own API",
        params=(
            params.base_url(BASE_URL, "OLLAMA_HOST"),
            params.api_key(required=False, help="key, where the server or a proxy before it asks for one"),
            *params.CONNECTION,
            params.CAPABILITIES,
            *(Param(name=f"saas.{name}", kind=kind, help=text) for name, (kind, text) in schema.SETTINGS.items()),
        ),
    )

    def __init__(self, setup: Setup, http: Http) -> None:
        given = setup.params
        self._http = http
        self._model: str = given["saas.model"]
        self._base = _base_url(given)
        self._tries: int = given["saas.max_retries"]
        self._stated = given.get("saas.capabilities")
        self._extra = given.get("saas.extra_body", {})
        self._defaults = schema.defaults(given)

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check that the address is one of the native API."""
        url = _base_url(setup.params)
        params.check_url({"saas.base_url": url}, "saas.base_url", BASE_URL)
        params.check_objects(setup.params)
        model_facts.capabilities(setup.params["saas.model"], setup.params.get("saas.capabilities"))
        if url.endswith("/v1"):
            native = f"Leave /v1 out ({url.removesuffix('/v1')})"
            raise BadParameter(
                f"saas.base_url is {url}, which speaks OpenAI's wire.", f"{native}, or use saas/openai with it."
            )

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Make the session; nothing is sent yet."""
        report("importing aiohttp", None)
        model = setup.params["saas.model"]
        missing = f"Run: ollama pull {model} (where Ollama runs), or check saas.model and saas.base_url."
        endpoint = http_errors.Endpoint(
            model, _base_url(setup.params), params.secrets_of(setup.params), hints={404: missing}
        )
        return cls(setup, Http.open(setup, endpoint, params.bearer(setup.params)))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    def capabilities(self) -> frozenset[Capability]:
        """Return what the model can do, as its name or `saas.capabilities` tells, and this API has."""
        own = methods_of(self) | {Capability.VISION, Capability.TOOLS}
        return model_facts.capabilities(self._model, self._stated) & own

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the answer as it comes; closing the iterator closes the connection, which stops the model.

        Raises:
            ProviderError: Ollama refused or failed; its own sentence is in the message.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """
        headers = request.options.get("extra_headers") or {}
        body = self._body(request.options, messages=schema.messages(request.messages), stream=request.stream)
        numbers = itertools.count()
        done = called = False
        url = f"{self._base}/api/chat"
        async with aclosing(self._http.json_lines(url, body, schema.Answer, headers=headers)) as answers:
            async for answer in answers:
                chunk = schema.chunk(answer, numbers, called=called)
                done, called = answer.done, called or bool(chunk.tool_calls)
                if chunk != ChatChunk():
                    yield chunk
        if not done:
            raise http_errors.truncated(self._http.endpoint)

    async def embed(self, request: EmbedRequest) -> AsyncIterator[EmbeddingBatch]:
        """Yield the vectors of all texts, in order, as each batch of `EMBED_BATCH` is done."""
        url, headers = f"{self._base}/api/embed", request.options.get("extra_headers") or {}

        async def one(start: int, texts: Sequence[str]) -> EmbeddingBatch:
            body = self._body(request.options, input=texts)
            answer = await self._http.post(url, body, schema.Answer, headers=headers)
            rows = answer.embeddings or []
            if len(rows) != len(texts):
                raise http_errors.unreadable(self._http.endpoint, f"{len(rows)} vectors for {len(texts)} texts")
            vectors = b"".join(map(to_float32, rows))
            return EmbeddingBatch(start, len(rows[0]), vectors, Usage(answer.prompt_eval_count, 0))

        async with aclosing(in_order(request.texts, EMBED_BATCH, one, self._tries)) as batches:
            async for vectors in batches:
                yield vectors

    def _body(self, given: Mapping[str, Any], **own: Any) -> dict[str, Any]:
        asked = {name: value for name, value in given.items() if value is not None}
        asked.pop("extra_headers", None)
        extra = {**self._extra, **asked.pop("extra_body", {})}
        return schema.body({**self._defaults, **asked}, extra, model=self._model, **own)


def _base_url(given: Mapping[str, Any]) -> str:
    return schema.base_url(given["saas.base_url"])


BACKEND = OllamaBackend
