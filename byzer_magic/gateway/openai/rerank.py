"""`POST /v1/rerank`, in the form of Cohere and Jina: https://docs.cohere.com/reference/rerank."""

from __future__ import annotations

from typing import Any

import msgspec

from byzer_magic.gateway import bodies
from byzer_magic.gateway.calls import Call, Reply
from byzer_magic.gateway.problems import bad
from byzer_magic.i18n import gettext as _
from byzer_magic.results import RerankResult
from byzer_magic.types import RerankRequest


class Body(msgspec.Struct):
    """The fields that the endpoint itself needs."""

    model: str
    query: str
    documents: list[str | dict[str, Any]]
    top_n: int | None = None
    return_documents: bool | None = None


async def rank(call: Call) -> Reply:
    """Return the documents by their relevance to the query.

    Raises:
        Problem: the request is not valid.
    """
    found = await call.json()
    body = bodies.typed(found, Body)
    texts = [text if isinstance(text, str) else text.get("text") for text in body.documents]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise bad(_("documents is not a list of texts, or is empty."), "documents")
    if body.top_n is not None and body.top_n < 1:
        raise bad(
            _("{name} is {value}, which is below its minimum of {least:g}.", name="top_n", value=body.top_n, least=1),
            "top_n",
        )
    documents = [str(text) for text in texts]
    request = RerankRequest(query=body.query, documents=documents, options=bodies.rest(found, Body))
    result: RerankResult = await call.result(body.model, request)
    rows = [
        {"index": index, "relevance_score": score}
        | ({"document": {"text": documents[index]}} if body.return_documents else {})
        for index, score in result.order[: body.top_n]
    ]
    tokens = result.usage.total_tokens if result.usage else 0
    return Reply(
        {
            "id": f"rerank-{call.serial}", "model": body.model, "results": rows,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens}, "meta": {"tokens": {"input_tokens": tokens}},
        }
    )  # fmt: skip
