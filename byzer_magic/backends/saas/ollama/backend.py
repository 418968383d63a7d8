"""Ollama by its own API, which has what its OpenAI-compatible one lacks: `num_ctx`, `keep_alive`, `think` and others.

Fields: https://docs.ollama.com/api (https://github.com/ollama/ollama/blob/main/docs/openapi.yaml); errors, also those
inside a stream: https://docs.ollama.com/api/errors. Ollama silently truncates a prompt that is too long, unless
`truncate` is false in `saas.extra_body`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Self

from byzer_magic.backends.base import Backend, Info, Report, Setup
from byzer_magic.backends.http import answers, errors as http_errors, params
from byzer_magic.backends.http.batches import in_order
from byzer_magic.backends.http.client import Http
from byzer_magic.backends.http.media import packed
from byzer_magic.backends.http.terms import Agreement, Terms
from byzer_magic.backends.saas.ollama import schema
from byzer_magic.capabilities import Capability, Trait, methods_of
from byzer_magic.catalog import model_facts
from byzer_magic.errors import BadParameter
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import ChatChunk, ChatRequest, EmbeddingBatch, EmbedRequest, Usage

BASE_URL = "http://127.0.0.1:11434"
EMBED_BATCH = 64
"""Texts in one request: Ollama has no limit, but responds only when all are done."""


class OllamaBackend(Backend):
    """Chat and embeddings over one HTTP session; an instance serves all slots of a pool."""

    info: ClassVar[Info] = Info(
        kind="saas/ollama",
        title=_("Ollama (its own API)"),
        params=(
            params.base_url(BASE_URL, "OLLAMA_HOST"),
            params.api_key(required=False, help=_("API key, if the server or a proxy in front of it requires one")),
            *params.CONNECTION,
            params.CAPABILITIES,
            *params.option_params(schema.OPTIONS),
        ),
        traits=frozenset({Trait.JSON_MODE, Trait.IN_CLUSTER}),
        context_param="saas.num_ctx",
    )

    def __init__(self, setup: Setup, http: Http) -> None:
        given = setup.params
        self._http = http
        self._model: str = given["saas.model"]
        self._base = _base_url(given)
        self._retries: int = given["saas.max_retries"]
        self._stated = given.get("saas.capabilities")
        self._extra = given.get("saas.extra_body", {})
        self._agreement = Agreement()
        self._defaults = schema.defaults(given)

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check that the base URL is one of Ollama's own API.

        Raises:
            BadParameter: it is that of the OpenAI-compatible API, or not a URL.
        """
        url = _base_url(setup.params)
        params.check_url({"saas.base_url": url}, "saas.base_url", BASE_URL)
        params.check_objects(setup.params)
        model_facts.capabilities(setup.params["saas.model"], setup.params.get("saas.capabilities"))
        if url.endswith("/v1"):
            native = url.removesuffix("/v1")
            raise BadParameter(
                _("saas.base_url is {url}, which is the URL of the OpenAI-compatible API.", url=url),
                _("Use --pretrained_model_type saas/openai with it, or the URL {native}", native=native),
            )

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Make the session; nothing is sent yet."""
        report(_("importing {name}", name="aiohttp"))
        model = setup.params["saas.model"]
        missing = _("Run `ollama pull {model}` where Ollama runs, or check saas.model and saas.base_url.", model=model)
        endpoint = http_errors.Endpoint(
            model,
            _base_url(setup.params),
            params.secrets_of(setup.params),
            hints={404: missing},
        )
        return cls(setup, Http.open(setup, endpoint, params.bearer(setup.params)))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    def capabilities(self) -> frozenset[Capability]:
        """Return the model's capabilities, by its name or `saas.capabilities`, and this API has."""
        own = methods_of(self) | {Capability.VISION, Capability.TOOLS}
        return model_facts.capabilities(self._model, self._stated) & own

    def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the response as it arrives; closing the iterator closes the connection, which stops the model.

        Raises:
            ProviderError: Ollama refused or failed; the message quotes its own text.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """
        return self._agreement.chunks(request.options, self._defaults, lambda terms: self._response(request, terms))

    async def _response(self, request: ChatRequest, terms: Terms) -> AsyncGenerator[ChatChunk, None]:
        headers = request.options.get("extra_headers") or {}
        body = self._body(request.options, messages=schema.messages(request.messages), stream=terms.stream)
        events = self._http.events(f"{self._base}/api/chat", body, headers=headers)
        reader = schema.Reader(self._http.error)
        async with aclosing(answers.chunks(events, reader, self._http.endpoint)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def embed(self, request: EmbedRequest) -> AsyncIterator[EmbeddingBatch]:
        """Yield the embeddings of all texts, in order, as each batch of `EMBED_BATCH` is done.

        Raises:
            ProviderError: Ollama refused or failed, or did not return one embedding per text.
        """
        url, headers = f"{self._base}/api/embed", request.options.get("extra_headers") or {}

        async def send(start: int, texts: Sequence[str]) -> EmbeddingBatch:
            body = self._body(request.options, input=texts)
            response = await self._http.post(url, body, schema.Response, needs="embeddings", headers=headers)
            rows = packed(response.embeddings or [], self._http.endpoint)
            if len(rows) != len(texts):
                raise http_errors.unreadable(self._http.endpoint, http_errors.embeddings_missing(len(rows), len(texts)))
            usage = Usage(response.prompt_eval_count, 0)
            return EmbeddingBatch(start, len(rows[0]) // 4 if rows else 0, b"".join(rows), usage)

        async with aclosing(in_order(request.texts, EMBED_BATCH, send, self._retries)) as batches:
            async for batch in batches:
                yield batch

    def _body(self, given: Mapping[str, Any], **own: Any) -> dict[str, Any]:
        options = {name: value for name, value in given.items() if value is not None}
        options.pop("extra_headers", None)
        extra = {**self._extra, **options.pop("extra_body", {})}
        return schema.body({**self._defaults, **options}, extra, model=self._model, **own)


def _base_url(given: Mapping[str, Any]) -> str:
    return schema.base_url(given["saas.base_url"])


BACKEND = OllamaBackend
