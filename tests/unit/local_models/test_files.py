"""What the files of a model say: configurations as they are published, and folders that are not whole."""

from __future__ import annotations

import contextlib
import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from byzer_magic import errors
from byzer_magic.local_models import files

KEYS = (
    "architectures", "model_type", "text_config", "id2label", "num_labels", "weight_map", "dtype", "n_positions", "a",
)  # fmt: skip
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 1302134568\n"

BERT = {"model_type": "bert", "max_position_embeddings": 512}
XLMR = {"model_type": "xlm-roberta", "vocab_size": 250002, "pad_token_id": 1}
ONE_LABEL = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}

PUBLISHED: dict[str, tuple[dict[str, Any], str, int]] = {
    "bge-large-zh": (
        {**BERT, **ONE_LABEL, "architectures": ["BertModel"], "hidden_size": 1024, "vocab_size": 21128},
        "sentence-transformers",
        512,
    ),
    "bge-m3": (
        {**XLMR, "architectures": ["XLMRobertaModel"], "max_position_embeddings": 8194},
        "sentence-transformers",
        8194,
    ),
    "bge-reranker-base": (
        {**XLMR, **ONE_LABEL, "architectures": ["XLMRobertaForSequenceClassification"],
         "max_position_embeddings": 514},
        "reranker",
        514,
    ),
    "bge-reranker-v2-m3": (
        {**XLMR, **ONE_LABEL, "architectures": ["XLMRobertaForSequenceClassification"],
         "max_position_embeddings": 8194},
        "reranker",
        8194,
    ),
    "ms-marco-one-label": (
        {**BERT, "architectures": ["BertForSequenceClassification"], "num_labels": 1},
        "reranker",
        512,
    ),
    "a classifier of two": (
        {**BERT, "architectures": ["BertForSequenceClassification"]},
        "transformers",
        512,
    ),
    "a classifier of three": (
        {**BERT, "architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b", "2": "c"}},
        "transformers",
        512,
    ),
    "Qwen2-0.5B-Instruct": (
        {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "max_position_embeddings": 32768},
        "transformers",
        32768,
    ),
    "whisper-base": (
        {"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper",
         "max_source_positions": 1500, "max_target_positions": 448},
        "whisper",
        0,
    ),
}  # fmt: skip


def tensors(**shapes: list[int]) -> bytes:
    """Return a complete safetensors file of float16 zeros."""
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * shape[0] * shape[1]
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def folder(path: Path, config: dict[str, Any], weights: bytes = tensors(a=[2, 3])) -> Path:
    (path / "config.json").write_text(json.dumps(config))
    (path / "model.safetensors").write_bytes(weights)
    return path


def refused(path: Path) -> errors.BadParameter:
    with pytest.raises(errors.BadParameter) as caught:
        files.inspect(str(path))
    return caught.value


@pytest.mark.parametrize("name", PUBLISHED)
def test_inspect_reads_published_configurations(tmp_path: Path, name: str) -> None:
    config, form, context = PUBLISHED[name]
    found = files.inspect(str(folder(tmp_path, config)))
    assert (found.format, found.context or 0) == (form, context)
    assert found.architecture == config["architectures"][0]
    assert (found.parameters, found.dtype) == (6, "F16")


def test_inspect_finds_a_reranker_saved_by_sentence_transformers(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    assert files.inspect(str(folder(tmp_path, PUBLISHED["bge-reranker-base"][0]))).format == "reranker"
    assert files.inspect(str(folder(tmp_path, PUBLISHED["Qwen2-0.5B-Instruct"][0]))).format == "sentence-transformers"


def test_inspect_refuses_an_adapter_alone(tmp_path: Path) -> None:
    about = {"base_model_name_or_path": "Qwen/Qwen2-0.5B-Instruct", "peft_type": "LORA"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(about))
    (tmp_path / "adapter_model.safetensors").write_bytes(tensors(a=[1, 1]))
    found = refused(tmp_path)
    assert "adapter" in found.message
    assert "Qwen/Qwen2-0.5B-Instruct" in found.hint
    assert f"adapter={tmp_path}" in found.hint


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_inspect_refuses_a_git_lfs_pointer(tmp_path: Path, name: str) -> None:
    folder(tmp_path, PUBLISHED["bge-large-zh"][0])
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / name).write_bytes(POINTER)
    found = refused(tmp_path)
    assert found.message == f"{tmp_path / name} is a Git LFS pointer, not the weights."
    assert "git lfs pull" in found.hint


@pytest.mark.parametrize("keep", [0, 4, 30, -1])
def test_inspect_refuses_a_truncated_file(tmp_path: Path, keep: int) -> None:
    found = refused(folder(tmp_path, PUBLISHED["bge-large-zh"][0], tensors(a=[2, 3])[:keep]))
    assert "model.safetensors" in found.message
    assert found.hint == "Download it again."


def test_inspect_names_a_missing_file(tmp_path: Path) -> None:
    names = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED["Qwen2-0.5B-Instruct"][0]))
    index = {"weight_map": dict(zip("abc", names, strict=True))}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in names[::2]:
        (tmp_path / name).write_bytes(tensors(a=[2, 3]))
    assert refused(tmp_path).message == f"{tmp_path} lacks 1 of 3 weight files: {names[1]}."
    (tmp_path / names[1]).write_bytes(tensors(b=[1, 1]))
    assert files.inspect(str(tmp_path)).parameters == 13


def test_inspect_refuses_a_folder_without_weights_or_configuration(tmp_path: Path) -> None:
    assert "it contains nothing" in refused(tmp_path).message
    (tmp_path / "config.json").write_text("{")
    assert "cannot be read" in refused(tmp_path).message
    (tmp_path / "config.json").write_text("[]")
    assert "not a JSON object" in refused(tmp_path).message
    (tmp_path / "config.json").write_text("{}")
    assert "contains no weights" in refused(tmp_path).message
    assert f"Did you mean {tmp_path}?" in refused(tmp_path.with_name(f"{tmp_path.name}x")).hint


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


@given(config=JSON, index=JSON)
def test_inspect_of_any_configuration_is_a_model_or_a_clear_error(config: Any, index: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        (folder / "pytorch_model.bin").write_bytes(b"weights")
        with contextlib.suppress(errors.BadParameter):
            assert isinstance(files.inspect(name), files.Weights)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_inspect_names_an_unreadable_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).mkdir()
    with pytest.raises(errors.BadParameter):
        files.inspect(str(tmp_path))


def lines_of_aliases() -> str:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join([*levels, "model: *a11"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (lines_of_aliases(), r"line 1: anchors, aliases, tags and merge keys are not supported"),
        ("model: !tag x", r"line 1: anchors"),
        ("model: " + "[" * 5000, "cannot be read"),
        ("model: x\n" * 600_000, "larger than 4 MB"),
        ("- a\n- b", "is not a valid configuration file"),
        ("model: a: b", r"line 1: mapping values are not allowed here"),
        ("\0", "is not text"),
    ],
    ids=["aliases", "tag", "brackets", "size", "list", "syntax", "binary"],
)
def test_configurations_in_yaml_are_plain_and_small(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "model.pt").write_bytes(b"weights")
    with pytest.raises(errors.BadParameter, match=words):
        files.inspect(str(tmp_path))


def test_a_configuration_in_yaml_names_its_model(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: SenseVoiceSmall\nencoder_conf:\n  dropout_rate: 0.1\n")
    (tmp_path / "model.pt").write_bytes(b"weights")
    assert files.inspect(str(tmp_path)).architecture == "SenseVoiceSmall"
