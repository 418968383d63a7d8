"""Embeddings by BGE and other sentence-transformers models on disk.

What the models were trained with (first token, length 1, an instruction before queries):
https://github.com/FlagOpen/FlagEmbedding. Embeddings come in batches, so that a cancellation need not wait for all.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Self

from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.backends.engine import sentence_models
from byzer_magic.backends.engine.threads import Emit, Turns
from byzer_magic.capabilities import Capability
from byzer_magic.errors import BadParameter, BadRequest
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.local_models import files
from byzer_magic.local_models.engine_facts import HEADLESS, MB, EngineFacts, EnginePackage, MemoryFacts, as_torch
from byzer_magic.local_models.files import Weights
from byzer_magic.types import EmbeddingBatch, EmbedRequest, Truncation, Usage

CHINESE = "为这个句子生成表示以用于检索相关文章："
ENGLISH = "Represent this sentence for searching relevant passages: "
"""What BGE models were trained to find before a query."""
CHINESE_VOCABULARY = 21128
"""Vocabulary size of the Chinese BERT that bge-*-zh is based on."""
BATCHES_SORTED = 8
"""Batches whose texts are sorted by length, so that short ones are not padded to long ones'."""
OPTIONS = ("dimensions", "input_type", "query_instruction")
INPUT_TYPES = ("query", "document", "passage")


class BgeBackend(Backend):
    """Embed texts with a local model."""

    info: ClassVar[Info] = Info(
        kind="custom/bge",
        title=_("BGE (embeddings)"),
        params=(
            *sentence_models.PARAMS,
            Param(name="max_seq_length", kind="int", help=_("tokens at which texts are truncated (default: the "
                                                            "model's)"),
                  aliases=("max_length", "max_model_len")),
            Param(name="normalize", kind="bool", default=True, aliases=("normalize_embeddings",),
                  help=_("normalize embeddings to length 1 (some models do so by themselves)")),
            Param(name="pooling", choices=("cls", "mean"), aliases=("pooling_mode",),
                  help=_("pooling of token embeddings, for folders without modules.json (default cls, as in BGE)")),
            Param(name="query_instruction", aliases=("query_instruction_for_retrieval",),
                  help=_("prefix of queries (input_type=query); may be empty (default: the model's)")),
        ),
        extra="bge",
        capabilities=frozenset({Capability.EMBED}),
        engine=EngineFacts(
            packages=(EnginePackage(module="sentence_transformers", companions=("torch",), devices=as_torch),),
            formats=("sentence-transformers",),
            auto={"sentence-transformers": 10, HEADLESS: 10},
            memory=MemoryFacts(overhead_bytes=660 * MB, float32_on_cpu=True, cache=False),
        ),
    )  # fmt: skip

    def __init__(self, model: Any, weights: Weights, setup: Setup) -> None:
        self._model = model
        self._limit = sentence_models.limit(model, weights, setup.params.get("max_seq_length"))
        self._instruction = instruction(weights, setup.params)
        self._batch = int(setup.params["batch_size"])
        self._normal = bool(setup.params["normalize"])
        self._dimensions = 0
        self._turns = Turns(sentence_models.ENGINE)

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check that the files are of a model that embeds, and that the parameters go with it."""
        weights = _weights(setup)
        sentence_models.check(setup, weights, "max_seq_length")
        instruction(weights, setup.params)
        if "pooling" in setup.params and (weights.path / "modules.json").is_file():
            raise BadParameter(
                _("pooling cannot be used with {path}: its modules.json defines the pooling.", path=weights.path),
                _("Leave it out."),
            )

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Load the model in a thread, and embed a word: a model that cannot fails here.

        Raises:
            EngineFailed: sentence-transformers cannot load the files, or they are incomplete.
        """
        weights = _weights(setup)
        return await sentence_models.loaded(setup, weights, report, functools.partial(cls._ready, setup, weights))

    @classmethod
    def _ready(cls, setup: Setup, weights: Weights) -> Self:
        backend = cls(_loaded(setup, weights), weights, setup)
        first, _ = backend._read(["a"], "")
        backend._dimensions = first.shape[1]
        return backend

    async def close(self) -> None:
        """Stop what runs, then free the model."""
        await self._turns.close()
        self._model = None

    async def embed(self, request: EmbedRequest) -> AsyncIterator[EmbeddingBatch]:
        """Yield the embeddings in batches, in the order of the texts; truncated ones are reported.

        Raises:
            BadRequest: an option is unknown, or its value is invalid.
        """
        options = sentence_models.asked(request.options, OPTIONS, "Embedding")
        wanted = sentence_models.number(options, "dimensions", self._dimensions)
        prompt = self._before(options)

        def work(emit: Emit, stopped: threading.Event) -> None:
            for embeddings in self._embeddings(request.texts, prompt, wanted, stopped):
                emit(embeddings)

        async with aclosing(self._turns.run(work)) as items:
            async for item in items:
                yield item

    def _before(self, options: Mapping[str, Any]) -> str:
        """Return the prefix that a request asks for before each of its texts."""
        given = options.get("query_instruction")
        kind = sentence_models.choice("input_type", options.get("input_type", "document" if given is None else "query"),
                                INPUT_TYPES)  # fmt: skip
        if given is not None and not isinstance(given, str):
            raise BadRequest(_("query_instruction is {given!r}, which is not a string.", given=given), "")
        if given is not None and kind != "query":
            raise BadRequest(
                _("query_instruction applies to queries, but input_type is {kind}.", kind=kind),
                _("Leave one of them out."),
            )
        return (self._instruction if given is None else given) if kind == "query" else ""

    def _embeddings(
        self, texts: Sequence[str], prompt: str, wanted: int | None, stopped: threading.Event
    ) -> Iterator[EmbeddingBatch]:
        import numpy as np  # 70 ms, and only embeddings need it

        for start in range(0, len(texts), self._batch * BATCHES_SORTED):
            some = texts[start : start + self._batch * BATCHES_SORTED]
            order = sorted(range(len(some)), key=lambda number: len(some[number]))
            table = np.zeros((len(some), self._dimensions), dtype="<f4")
            counts = np.zeros(len(some), dtype=int)
            for first in range(0, len(some), self._batch):
                if stopped.is_set():
                    return
                rows = order[first : first + self._batch]
                table[rows], counts[rows] = self._read([some[row] for row in rows], prompt)
            for first in range(0, len(some), self._batch):
                part = slice(first, first + self._batch)
                yield self._packed(start + first, table[part], counts[part].tolist(), wanted)

    def _read(self, texts: list[str], prompt: str) -> tuple[Any, list[int]]:
        """Return the embeddings of a batch, and the tokens of its texts before truncation."""
        rows = self._model.encode(texts, prompt=prompt, batch_size=len(texts), show_progress_bar=False)
        return rows, sentence_models.lengths(self._model, [prompt + text for text in texts])

    def _packed(self, start: int, table: Any, counts: list[int], wanted: int | None) -> EmbeddingBatch:
        import numpy as np

        if wanted:
            table = table[:, :wanted]
        if self._normal:
            table = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
        most = self._limit
        long = [start + row for row, count in enumerate(counts) if most and count > most]
        tokens = sum(min(count, most or count) for count in counts)
        data = np.ascontiguousarray(table, dtype="<f4").tobytes()
        return EmbeddingBatch(
            start, table.shape[1], data, Usage(tokens), Truncation(long, most) if long and most else None
        )


def _weights(setup: Setup) -> Weights:
    weights = files.inspect(setup.model_path)
    if weights.format == "reranker":
        raise BadParameter(_("{path} is a reranker; it returns no embeddings.", path=weights.path),
                           _("Deploy it with --pretrained_model_type custom/bge_rerank."))  # fmt: skip
    bare = weights.format == "transformers" and weights.architecture.endswith(("Model", "ForMaskedLM"))
    if weights.format != "sentence-transformers" and not bare:
        raise BadParameter(
            _(
                "{path} is not an embedding model: {architecture} ({format}).",
                path=weights.path,
                architecture=weights.architecture or "unnamed",
                format=weights.format,
            ),
            _(
                "Specify the folder of a BGE or sentence-transformers model; deploy other models with custom/auto "
                "and --infer_backend."
            ),
        )
    return weights


def instruction(weights: Weights, params: Mapping[str, Any]) -> str:
    """Return the prefix of queries: the parameter's, the model's own, or the one its family was trained with.

    bge-m3 (XLM-RoBERTa) was trained without.
    """
    if "query_instruction" in params:
        return str(params["query_instruction"])
    about = weights.path / "config_sentence_transformers.json"
    prompts = (files.read_json(about) if about.is_file() else {}).get("prompts") or {}
    if prompts.get("query"):  # sentence-transformers itself writes an empty one where none was given
        return str(prompts["query"])
    if weights.config.get("model_type") == "xlm-roberta":
        return ""
    named = re.search(r"(?<![a-z])zh(?![a-z])", weights.path.absolute().name.lower())
    return CHINESE if named or weights.config.get("vocab_size") == CHINESE_VOCABULARY else ENGLISH


def _loaded(setup: Setup, weights: Weights) -> Any:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    how = sentence_models.settings(setup, weights)
    if (weights.path / "modules.json").is_file():
        model = SentenceTransformer(str(weights.path), **how)
    else:
        shared = {name: how[name] for name in ("trust_remote_code", "local_files_only")}
        network = Transformer(
            str(weights.path),
            model_kwargs=shared | how["model_kwargs"],
            processor_kwargs=dict(shared),
            config_kwargs=dict(shared),
        )
        pooling = Pooling(network.get_embedding_dimension(), setup.params.get("pooling", "cls"))
        model = SentenceTransformer(modules=[network, pooling], device=how["device"])
    sentence_models.check_complete(weights, model)
    return model


BACKEND = BgeBackend
