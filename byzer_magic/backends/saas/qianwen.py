"""Qwen and the other models of Alibaba Cloud Model Studio (DashScope), by their own API.

Chat: see `backends.dashscope`. Embeddings: https://help.aliyun.com/zh/model-studio/text-embedding-api; rankings:
https://www.alibabacloud.com/help/en/model-studio/text-rerank-api.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from byzer_magic.backends.base import Info, Param
from byzer_magic.backends.dashscope.backend import DashScope, info
from byzer_magic.backends.http import errors as http_errors
from byzer_magic.backends.http.batches import in_order
from byzer_magic.backends.http.media import packed, ranked
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import EmbeddingBatch, EmbedRequest, Ranking, RerankRequest, Usage

EMBED = "/services/embeddings/text-embedding/text-embedding"
RERANK = "/services/rerank/text-rerank/text-rerank"

BATCH_SIZES = (("text-embedding-v[12]", 25), ("qwen3.7-text-embedding*", 20), ("*", 10))
"""Texts that a model accepts in one request, by its name; see the documentation of embeddings above."""


class QianwenBackend(DashScope):
    """Chat, embeddings and rerank."""

    info: ClassVar[Info] = info(
        "saas/qianwen",
        _("Qwen (Alibaba DashScope)"),
        Param(name="saas.dimensions", kind="int", help=_("dimensions of the embeddings (text-embedding-v3 and later)")),
        Param(name="saas.text_type", help=_("purpose of the texts"), choices=("query", "document")),
    )

    async def embed(self, request: EmbedRequest) -> AsyncIterator[EmbeddingBatch]:
        """Yield the embeddings of all texts, in order, as each batch is done.

        Raises:
            ProviderError: the provider refused or failed, or did not return one embedding per text.
        """
        options = {
            "dimensions": self._params.get("saas.dimensions"),
            "text_type": self._params.get("saas.text_type"),
            **{name: value for name, value in request.options.items() if value is not None},
        }
        options["dimension"] = options.pop("dimensions")
        options.pop("encoding_format", None)  # OpenAI's; here embeddings are always lists

        async def send(start: int, texts: Sequence[str]) -> EmbeddingBatch:
            return await self._embeddings(start, self._body("embed", options, texts=list(texts)))

        size = next(size for name, size in BATCH_SIZES if fnmatchcase(self._model.lower(), name))
        async with aclosing(in_order(request.texts, size, send, self._params["saas.max_retries"])) as batches:
            async for batch in batches:
                yield batch

    async def _embeddings(self, start: int, body: dict[str, Any]) -> EmbeddingBatch:
        response = await self._post(EMBED, body)
        found = sorted((response.output and response.output.embeddings) or [], key=lambda row: row.text_index)
        asked = len(body["input"]["texts"])
        if len(found) != asked:
            raise http_errors.unreadable(self._http.endpoint, http_errors.embeddings_missing(len(found), asked))
        data = packed([row.embedding for row in found], self._http.endpoint)
        return EmbeddingBatch(start, len(data[0]) // 4 if data else 0, b"".join(data), self._usage(response))

    async def rerank(self, request: RerankRequest) -> AsyncIterator[Ranking]:
        """Yield the order of the documents, the most relevant first.

        Raises:
            ProviderError: the provider refused or failed, or returned no ranking.
        """
        body = self._body("rerank", request.options, query=request.query, documents=request.documents)
        response = await self._post(RERANK, body)
        if response.output is None or response.output.results is None:
            raise http_errors.unreadable(self._http.endpoint, http_errors.NO_CONTENT)
        rows = response.output.results
        if not rows and request.documents:
            raise http_errors.unreadable(self._http.endpoint, http_errors.NO_CONTENT)
        scores = [(row.index, row.relevance_score) for row in rows]
        yield Ranking(ranked(scores, len(request.documents), self._http.endpoint), self._usage(response))

    @staticmethod
    def _usage(response: Any) -> Usage | None:
        return response.usage.usage() if response.usage else None


BACKEND = QianwenBackend
