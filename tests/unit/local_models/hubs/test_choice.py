"""Which files of a repository are fetched: lists of files as they are in hubs."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from byzer_magic.errors import FetchError
from byzer_magic.local_models.hubs import choice, quantizations
from byzer_magic.local_models.hubs.choice import File, Wish
from byzer_magic.local_models.hubs.quantizations import Version
from byzer_magic.local_models.hubs.reference import parse

GB = 10**9
QWEN = """.gitattributes LICENSE README.md config.json generation_config.json merges.txt tokenizer.json
 tokenizer_config.json vocab.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors
 model.safetensors.index.json"""
LLAMA = (
    QWEN + " original/consolidated.00.pth original/params.json original/tokenizer.model consolidated.safetensors"
    " pytorch_model-00001-of-00002.bin pytorch_model-00002-of-00002.bin pytorch_model.bin.index.json"
)
MINILM = """1_Pooling/config.json README.md config.json config_sentence_transformers.json modules.json vocab.txt
 model.safetensors pytorch_model.bin rust_model.ot tf_model.h5 sentence_bert_config.json special_tokens_map.json
 tokenizer.json onnx/model.onnx onnx/model_O1.onnx openvino/openvino_model.bin openvino/openvino_model.xml
 train_script.py data_config.json"""
WHISPER = "config.json model.bin preprocessor_config.json tokenizer.json vocabulary.txt README.md"
SENSEVOICE = """am.mvn config.yaml configuration.json model.pt chn_jpn_yue_eng_ko_spectok.bpe.model example/en.mp3
 fig/bar.png README.md"""
PIPER = "en_US-joe-medium.onnx en_US-joe-medium.onnx.json MODEL_CARD"


def listing(names: str, size: int = 1000) -> list[File]:
    return [File(path=name, size=size) for name in names.split()]


def chosen(names: str, model: str = "hf:a/b", **wish: object) -> list[str]:
    found = choice.choose(parse(model), listing(names), Wish(**wish))  # type: ignore[arg-type]
    return [file.path for file in found.files]


def test_choice_of_a_folder_leaves_out_what_no_engine_reads() -> None:
    assert set(chosen(QWEN)) == set(QWEN.split()) - {".gitattributes", "LICENSE", "README.md"}


def test_choice_takes_one_format_of_the_weights() -> None:
    found = chosen(LLAMA)
    assert found[-2:] == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert not [name for name in found if name.endswith((".bin", ".pth")) or "consolidated" in name]
    assert "model.safetensors.index.json" in found


def test_choice_without_safetensors_takes_the_pickled_weights() -> None:
    names = " ".join(name for name in LLAMA.split() if not name.endswith(".safetensors"))
    assert chosen(names)[-2:] == ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]


def test_choice_of_an_embedding_model_has_its_modules() -> None:
    found = chosen(MINILM)
    assert {"1_Pooling/config.json", "modules.json", "vocab.txt"} <= set(found)
    assert found[-1] == "model.safetensors"
    assert not [name for name in found if "onnx" in name or "openvino" in name or name.endswith((".ot", ".h5", ".bin"))]


@pytest.mark.parametrize(
    ("names", "needed"),
    [(WHISPER, "model.bin vocabulary.txt"), (SENSEVOICE, "am.mvn config.yaml model.pt"), (PIPER, PIPER.split()[1])],
)
def test_choice_of_audio_models_has_what_they_load(names: str, needed: str) -> None:
    found = chosen(names)
    assert set(needed.split()) <= set(found)
    assert not [name for name in found if name.endswith((".mp3", ".png", ".md"))]


def test_choice_ends_with_the_weights() -> None:
    for names in (QWEN, LLAMA, MINILM, WHISPER, SENSEVOICE, PIPER):
        kinds = [choice.is_weight(name) for name in chosen(names)]
        assert kinds == sorted(kinds), "what is interrupted must not look complete"
        assert any(kinds)


# ---- GGUF

SIZES = {"Q2_K": 3.3, "Q4_K_M": 5.0, "Q5_K_M": 5.9, "Q6_K": 6.7, "Q8_0": 8.7, "BF16": 16.4}


def quantized(**more: float) -> list[File]:
    files = [File(path=f"Qwen3-8B-{name}.gguf", size=int(size * GB)) for name, size in (SIZES | more).items()]
    return [*files, File(path="mmproj-F16.gguf", size=GB), File(path="config.json", size=1000)]


@pytest.mark.parametrize(("free", "taken"), [(100, "Q8_0"), (16, "Q6_K"), (12, "Q4_K_M"), (6, "Q4_K_M"), (4, "Q2_K")])
def test_quantization_follows_the_free_memory_and_says_why(free: float, taken: str) -> None:
    found = choice.choose(parse("hf:a/b-GGUF"), quantized(), Wish(free=int(free * GB)))
    assert found.main == f"Qwen3-8B-{taken}.gguf"
    assert f"{taken} (" in found.why
    assert "of 6 quantizations" in found.why
    assert "free memory" in found.why
    assert "hf:a/b-GGUF:" in found.why


def test_quantization_that_does_not_fit_is_not_fetched_unless_named() -> None:
    with pytest.raises(
        FetchError, match=r"the smallest needs about 3\.8 GB of memory, but only 2\.0 GB is free"
    ) as err:
        choice.choose(parse("hf:a/b-GGUF"), quantized(), Wish(free=2 * GB))
    assert "hf:a/b-GGUF:Q2_K" in err.value.hint
    named = choice.choose(parse("hf:a/b-GGUF:Q2_K"), quantized(), Wish(free=2 * GB))
    assert named.main == "Qwen3-8B-Q2_K.gguf"


@pytest.mark.parametrize(
    ("part", "main"),
    [
        ("q4_k_m", "Qwen3-8B-Q4_K_M.gguf"),
        ("Qwen3-8B-Q8_0.gguf", "Qwen3-8B-Q8_0.gguf"),
        ("mmproj-F16.gguf", "mmproj-F16.gguf"),
    ],
)
def test_named_part_is_a_quantization_or_a_file(part: str, main: str) -> None:
    found = choice.choose(parse(f"hf:a/b:{part}"), quantized(), Wish())
    assert [file.path for file in found.files] == [found.main] == [main]


def test_named_part_of_a_split_model_brings_all_parts() -> None:
    names = "Q8_0/big-00001-of-00002.gguf Q8_0/big-00002-of-00002.gguf Q4_0/big-00001-of-00001.gguf"
    assert chosen(names, "hf:a/b:Q8_0") == ["Q8_0/big-00002-of-00002.gguf", "Q8_0/big-00001-of-00002.gguf"]
    assert chosen(names, "hf:a/b:big-00002-of-00002.gguf") == chosen(names, "hf:a/b:Q8_0")


def test_folder_and_gguf_follow_the_engine() -> None:
    names = QWEN + " qwen-Q4_0.gguf"
    assert chosen(names)[-1].endswith(".safetensors")
    assert chosen(names, gguf=True) == ["qwen-Q4_0.gguf"]
    with pytest.raises(FetchError, match=r"has no \.gguf file, and llama_cpp loads nothing else"):
        chosen(QWEN, gguf=True, only_gguf=True, engine="llama_cpp")


@pytest.mark.parametrize(
    ("names", "model", "message", "hint"),
    [
        (QWEN, "hf:a/b:tokenizer.jsn", "has no file tokenizer.jsn", "Did you mean hf:a/b:tokenizer.json?"),
        ("x-Q4_0.gguf x-Q8_0.gguf", "hf:a/b:Q4_O", "has no file Q4_O", "Did you mean hf:a/b:Q4_0?"),
        ("x-Q4_0.gguf", "hf:a/b:zzz", "has no file zzz", "It has: Q4_0"),
        (QWEN, "hf:a/b:model-00001-of-00002.safetensors", "is only one file of a model", "hf:a/b"),
        ("a/x.gguf b/x.gguf", "hf:a/b:x.gguf", "several files named x.gguf", "a/x.gguf, b/x.gguf"),
        ("x-Q4_0.gguf y-Q4_0.gguf", "hf:a/b:Q4_0", "is in several files", "x-Q4_0.gguf, y-Q4_0.gguf"),
        ("README.md a.png", "hf:a/b", "no weights that an engine loads. It has: README.md, a.png", ".safetensors"),
        ("model_index.json unet/x.safetensors", "hf:a/b", "image generation model", "presets"),
    ],
)
def test_choice_that_is_none_names_what_there_is(names: str, model: str, message: str, hint: str) -> None:
    with pytest.raises(FetchError) as err:
        chosen(names, model)
    assert message in err.value.message
    assert hint in err.value.hint


@pytest.mark.parametrize(
    ("names", "complete"),
    [
        ("config.json model.safetensors", True),
        ("config.json", False),
        ("model-00001-of-00002.safetensors", False),
        ("pytorch_model-00001-of-00002.bin pytorch_model-00002-of-00002.bin", True),
        ("1_Dense/model.safetensors", False),
    ],
)
def test_folder_is_complete_with_all_weights(names: str, complete: bool) -> None:
    assert choice.is_complete(names.split()) == complete


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Qwen3-0.6B-Q8_0.gguf", "Q8_0"),
        ("qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf", "Q4_K_M"),
        ("UD-IQ2_XXS/DeepSeek-R1-UD-IQ2_XXS-00001-of-00004.gguf", "UD-IQ2_XXS"),
        ("gemma-3-4b-it.BF16.gguf", "BF16"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("Phi-3-mini-4k-instruct-fp16.gguf", "FP16"),
        ("ggml-model-i2_s.gguf", ""),
    ],
)
def test_quantization_is_read_from_the_name(file: str, name: str) -> None:
    assert quantizations.quantization(file) == name


@given(st.lists(st.integers(10**6, 10**11), min_size=1, max_size=8, unique=True), st.integers(10**6, 10**12))
def test_quantization_that_is_taken_fits(sizes: list[int], free: int) -> None:
    versions = [Version(files=(f"m{number}-Q4_0.gguf",), size=size) for number, size in enumerate(sizes)]
    found, why = quantizations.fitting(versions, free)
    fitting = [one for one in versions if one.needs <= free]
    assert (found is None) == (not fitting)
    assert why
    if found:
        assert found in fitting
        larger = [one for one in versions if one.size > found.size]
        assert all(one.needs > free * quantizations.SHARE for one in larger)
