"""Reranking by bge-reranker and other cross-encoders on disk, which read a query and a document together.

https://sbert.net/docs/package_reference/cross_encoder/cross_encoder.html
"""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Self

from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.backends.engine import sentence_models
from byzer_magic.backends.engine.threads import Emit, Turns
from byzer_magic.capabilities import Capability
from byzer_magic.errors import BadParameter
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.local_models import files
from byzer_magic.local_models.engine_facts import MB, EngineFacts, EnginePackage, MemoryFacts, as_torch
from byzer_magic.local_models.files import Weights
from byzer_magic.types import Ranking, RerankRequest, Truncation, Usage


class BgeRerankBackend(Backend):
    """Order documents by how well they answer a query, with a local model."""

    info: ClassVar[Info] = Info(
        kind="custom/bge_rerank",
        title=_("BGE (reranking)"),
        params=(
            *sentence_models.PARAMS,
            Param(name="max_length", kind="int", aliases=("max_seq_length", "max_model_len"),
                  help=_("tokens at which a query with its document is truncated (default: the model's)")),
            Param(name="normalize", kind="bool", default=True,
                  help=_("scores from 0 to 1; false returns them as the model computes them")),
        ),
        extra="bge",
        capabilities=frozenset({Capability.RERANK}),
        engine=EngineFacts(
            packages=(EnginePackage(module="sentence_transformers", companions=("torch",), devices=as_torch),),
            formats=("reranker",),
            auto={"reranker": 10},
            memory=MemoryFacts(overhead_bytes=660 * MB, float32_on_cpu=True, cache=False),
        ),
    )  # fmt: skip

    def __init__(self, model: Any, weights: Weights, setup: Setup) -> None:
        import torch

        self._model = model
        self._limit = sentence_models.limit(model, weights, setup.params.get("max_length"))
        self._batch = int(setup.params["batch_size"])
        self._last = torch.nn.Sigmoid() if setup.params["normalize"] else torch.nn.Identity()
        self._turns = Turns(sentence_models.ENGINE)

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check that the files are of a model that gives one score, and that the parameters go with it."""
        sentence_models.check(setup, _weights(setup), "max_length")

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Load the model in a thread, and score a word: a model that cannot fails here.

        Raises:
            EngineFailed: sentence-transformers cannot load the files, or they are incomplete.
        """
        weights = _weights(setup)
        return await sentence_models.loaded(setup, weights, report, functools.partial(cls._ready, setup, weights))

    @classmethod
    def _ready(cls, setup: Setup, weights: Weights) -> Self:
        backend = cls(_loaded(setup, weights), weights, setup)
        backend._read("a", ["a"])
        return backend

    async def close(self) -> None:
        """Stop what runs, then free the model."""
        await self._turns.close()
        self._model = None

    async def rerank(self, request: RerankRequest) -> AsyncIterator[Ranking]:
        """Yield the ranking, once all documents have been scored; truncated ones are reported.

        Raises:
            BadRequest: an option is unknown, or its value is invalid.
        """
        most = sentence_models.number(sentence_models.asked(request.options, ("top_n",), "Reranking"), "top_n")
        documents = request.documents
        by_length = sorted(range(len(documents)), key=lambda number: len(documents[number]))

        def work(emit: Emit, stopped: threading.Event) -> None:
            for start in range(0, len(by_length), self._batch):
                if stopped.is_set():
                    return
                rows = by_length[start : start + self._batch]
                emit((rows, *self._read(request.query, [documents[row] for row in rows])))

        scores: list[tuple[int, float]] = []
        counts: dict[int, int] = {}
        async with aclosing(self._turns.run(work)) as items:
            async for rows, found, read in items:
                scores += zip(rows, found, strict=True)
                counts |= zip(rows, read, strict=True)
        scores.sort(key=lambda item: (-item[1], item[0]))
        limit = self._limit
        long = sorted(row for row, count in counts.items() if limit and count > limit)
        tokens = sum(min(count, limit or count) for count in counts.values())
        yield Ranking(scores[:most], Usage(tokens), Truncation(long, limit) if long and limit else None)

    def _read(self, query: str, documents: Sequence[str]) -> tuple[list[float], list[int]]:
        """Return the scores of a batch, and the tokens of each document with the query before truncation."""
        pairs = [(query, document) for document in documents]
        scores = self._model.predict(
            pairs, batch_size=len(pairs), activation_fn=self._last, show_progress_bar=False
        ).tolist()
        return scores, sentence_models.lengths(self._model, [query] * len(documents), documents)


def _weights(setup: Setup) -> Weights:
    weights = files.inspect(setup.model_path)
    if weights.format == "sentence-transformers":
        raise BadParameter(_("{path} is an embedding model; it returns no scores.", path=weights.path),
                           _("Deploy it with --pretrained_model_type custom/bge."))  # fmt: skip
    if weights.format != "reranker":
        raise BadParameter(
            _(
                "{path} is not a reranker: {architecture} ({format}).",
                path=weights.path,
                architecture=weights.architecture or "unnamed",
                format=weights.format,
            ),
            _("Specify the folder of a cross-encoder with one label, e.g. bge-reranker-base."),
        )
    return weights


def _loaded(setup: Setup, weights: Weights) -> Any:
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(weights.path), **sentence_models.settings(setup, weights))
    sentence_models.check_complete(weights, model)
    return model


BACKEND = BgeRerankBackend
