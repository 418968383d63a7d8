"""The embeddings and rankings of `ByzerLLM`, and which model a call is for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from byzer_magic.client import current
from byzer_magic.client.model import Model
from byzer_magic.compat import calls
from byzer_magic.compat.responses import LLMRequest, LLMResponse
from byzer_magic.compat.setup import Setters
from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _


class Embeddings(Setters):
    """A client that embeds and ranks."""

    def emb(
        self, model: str | None, request: LLMRequest | str | Sequence[str], extract_params: Any = None
    ) -> list[LLMResponse]:
        """Return the embedding of each text, a list of numbers, as `output` of one response.

        Raises:
            NotDeployed: nothing is deployed as this alias.
            RequestError: the model failed.
        """
        given = request.instruction if isinstance(request, LLMRequest) else request
        texts = [given] if isinstance(given, str) else list(given)
        rows = self._model(model or self.default_emb_model_name).embed(texts, **(extract_params or {}))
        return [LLMResponse(row.tolist(), {"instruction": text}) for row, text in zip(rows, texts, strict=True)]

    def emb_query(self, v: str, model: str | None = None) -> list[LLMResponse]:
        """Return the embedding of one text, as `output` of the one response."""
        return self.emb(model, LLMRequest(v))

    def emb_rerank(
        self, model: str | None = None, sentence_pairs: Any = (), extract_params: Any = None
    ) -> list[LLMResponse]:
        """Return pairs of query and document with their scores, the best first, as `output` of the one response.

        Raises:
            CommandError: there are no pairs.
            NotDeployed: nothing is deployed as this alias.
        """
        if not sentence_pairs:
            raise CommandError(
                _("emb_rerank needs pairs of a query and a document."),
                _('Pass sentence_pairs=[("query", "document")].'),
            )
        asked = self._model(model or self.default_rerank_model_name)
        return [LLMResponse(calls.ranked(asked, sentence_pairs, extract_params or {}), {"instruction": sentence_pairs})]

    # ---- which model

    def _alias(self, model: str | None) -> str:
        alias = model or self.default_model_name or self.default_emb_model_name
        if not alias:
            raise CommandError(
                _("The client has no model."), _('Call llm.setup_default_model_name("ALIAS"), or pass model="ALIAS".')
            )
        return alias

    def _model(self, model: str | None) -> Model:
        return current.model(self._alias(model))
