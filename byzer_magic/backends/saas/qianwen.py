"""Qwen and the other models of Alibaba Cloud Model Studio (DashScope), by their native wire.

Chat: see `wires.dashscope`. EmbeddingBatch: https://help.aliyun.com/zh/model-studio/text-embedding-api; rankings:
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
from byzer_magic.backends.http.media import to_float32
from byzer_magic.types import EmbeddingBatch, EmbedRequest, Ranking, RerankRequest, Usage

EMBED = "/services/embeddings/text-embedding/text-embedding"
RERANK = "/services/rerank/text-rerank/text-rerank"

ROWS = (("text-embedding-v[12]", 25), ("qwen3.7-text-embedding*", 20), ("*", 10))
"""Texts that a model takes in one request, by its name."""


class QianwenBackend(DashScope):
    """Chat, vectors and rankings."""

    info: ClassVar[Info] = info(
        "saas/qianwen",
        "Qwen (Alibaba DashScope)",
        Param(
            name="saas.dimensions", kind="int", help="length of the vectors that texts become (text-embedding-v3 on)"
        ),
        Param(name="saas.text_type", help="what the texts are", choices=("query", "document")),
    )

    async def embed(self, request: EmbedRequest) -> AsyncIterator[EmbeddingBatch]:
        """Yield the vectors of all texts, in order, as each batch is done."""
        options = {
            "dimensions": self._params.get("saas.dimensions"),
            "text_type": self._params.get("saas.text_type"),
            **{name: value for name, value in request.options.items() if value is not None},
        }
        options["dimension"] = options.pop("dimensions")
        options.pop("encoding_format", None)  # OpenAI's; here vectors are always lists

        async def one(start: int, texts: Sequence[str]) -> EmbeddingBatch:
            return await self._vectors(start, self._body("embed", options, texts=list(texts)))

        rows = next(rows for name, rows in ROWS if fnmatchcase(self._model.lower(), name))
        async with aclosing(in_order(request.texts, rows, one, self._params["saas.max_retries"])) as batches:
            async for vectors in batches:
                yield vectors

    async def _vectors(self, start: int, body: dict[str, Any]) -> EmbeddingBatch:
        answer = await self._post(EMBED, body)
        found = sorted((answer.output and answer.output.embeddings) or [], key=lambda row: row.text_index)
        asked = len(body["input"]["texts"])
        if len(found) != asked:
            raise http_errors.unreadable(self._http.endpoint, f"{len(found)} vectors for {asked} texts")
        data = [to_float32(row.embedding) for row in found]
        return EmbeddingBatch(start, len(data[0]) // 4, b"".join(data), self._usage(answer))

    async def rerank(self, request: RerankRequest) -> AsyncIterator[Ranking]:
        """Yield the documents' order, the best first."""
        body = self._body("rerank", request.options, query=request.query, documents=request.documents)
        answer = await self._post(RERANK, body)
        if answer.output is None or answer.output.results is None:
            raise http_errors.unreadable(self._http.endpoint, "no ranking in it")
        yield Ranking([(row.index, row.relevance_score) for row in answer.output.results], self._usage(answer))

    @staticmethod
    def _usage(answer: Any) -> Usage | None:
        return answer.usage.usage() if answer.usage else None


BACKEND = QianwenBackend
