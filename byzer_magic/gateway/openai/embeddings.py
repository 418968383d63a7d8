"""`POST /v1/embeddings`: https://developers.openai.com/api/reference/resources/embeddings/methods/create."""

from __future__ import annotations

import base64
from typing import Any, Literal

import msgspec

from byzer_magic.gateway import bodies
from byzer_magic.gateway.calls import Call, Reply
from byzer_magic.gateway.problems import bad
from byzer_magic.i18n import gettext as _
from byzer_magic.types import EmbeddingBatch, EmbedRequest, Usage

MOST = 2048
"""Texts of one request."""


class Body(msgspec.Struct):
    """The fields that the endpoint itself needs."""

    model: str
    input: str | list[Any]
    encoding_format: Literal["float", "base64"] | None = None


async def embed(call: Call) -> Reply:
    """Return an embedding for each text.

    Raises:
        Problem: the request is not valid.
    """
    found = await call.json()
    body = bodies.typed(found, Body)
    texts = [body.input] if isinstance(body.input, str) else body.input
    _check(texts)
    rows: list[Any] = [None] * len(texts)
    request = EmbedRequest(texts=texts, options=bodies.rest(found, Body))
    async for batch in call.items(body.model, request):
        for offset, row in enumerate(_rows(batch, plain=body.encoding_format != "base64")):
            rows[batch.start + offset] = row
    usage = call.usage or Usage()
    data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
    counts = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.total_tokens}
    return Reply({"object": "list", "data": data, "model": body.model, "usage": counts})


def _check(texts: list[Any]) -> None:
    if not texts:
        raise bad(_("input is empty."), "input")
    if len(texts) > MOST:
        raise bad(_("input has {count} texts, more than {most}.", count=len(texts), most=MOST), "input")
    for index, text in enumerate(texts):
        if isinstance(text, int | list):  # tokens of a tokenizer that only OpenAI's models have
            raise bad(
                _("input has token numbers, not texts. In LangChain, pass check_embedding_ctx_length=False."), "input"
            )
        if not isinstance(text, str):
            raise bad(_("input[{index}] is not a string.", index=index), f"input[{index}]", "invalid_type")


def _rows(batch: EmbeddingBatch, *, plain: bool) -> list[Any]:
    """Return the embeddings of a batch as lists of numbers, or in base64."""
    size = 4 * batch.dimensions
    parts = [batch.data[start : start + size] for start in range(0, len(batch.data), size)] if size else []
    if not plain:
        return [base64.b64encode(part).decode() for part in parts]
    return [memoryview(part).cast("f").tolist() for part in parts]
