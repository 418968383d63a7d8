"""Which engine fits a model: what `--infer_backend auto` takes, and why.

Pure: from what the files say, the hardware, and what is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from byzer_magic.errors import BadParameter
from byzer_magic.local_models import gguf, memory
from byzer_magic.local_models.files import Weights
from byzer_magic.local_models.hardware import Hardware
from byzer_magic.local_models.installed import Package

Installed = Mapping[str, tuple[Package, ...]]
"""The usable engines (`vllm`, `custom/whisper`, ...), each with the packages that can run it."""

FAMILIES = {
    "sentence-transformers": ("custom/bge", "makes embeddings"),
    "reranker": ("custom/bge_rerank", "orders documents"),
    "whisper": ("custom/whisper", "writes down speech"),
    "ctranslate2": ("custom/whisper", "writes down speech"),
    "funasr": ("custom/sensevoice", "writes down speech"),
    "piper": ("custom/piper", "speaks"),
}
"""Type and purpose of the models that one engine runs, by the form of their files."""
FORM_NAMES = {
    "gguf": "a GGUF model", "ctranslate2": "a Whisper for CTranslate2", "whisper": "a Whisper",
    "funasr": "a FunASR model", "piper": "a Piper voice", "sentence-transformers": "an embedding model",
    "reranker": "a reranker",
}  # fmt: skip

_CHAT = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
"""Endings of architectures that write text."""
_NO_ENGINE = (
    ("ForMaskedLM", "fills gaps in a text", "For the vectors of its layers, add --pretrained_model_type custom/bge."),
    ("ForPreTraining", "is made for further training", "For its vectors, add --pretrained_model_type custom/bge."),
    ("ForSequenceClassification", "sorts texts into classes", ""),
    ("ForTokenClassification", "marks words in a text", ""),
    ("ForQuestionAnswering", "marks answers in a text", ""),
    ("ForMultipleChoice", "picks one of several texts", ""),
    ("ForImageClassification", "sorts pictures into classes", ""),
    ("ForObjectDetection", "finds things in pictures", ""),
    ("Segmentation", "finds things in pictures", ""),
    ("ForDepthEstimation", "measures depth in pictures", ""),
    ("ForAudioClassification", "sorts sounds into classes", ""),
    ("ForCTC", "writes down speech in a way that no engine here does", "Whisper and SenseVoice models work."),
    ("ForSpeechSeq2Seq", "writes down speech in a way that no engine here does", "Whisper and SenseVoice work."),
)
"""Endings of architectures that no engine here runs, what those models do, and the next step."""
_NO_TEXT = (
    " clip siglip siglip2 chinese_clip clap vit deit beit swin swinv2 dinov2 dinov3_vit resnet convnext sam sam2 vits"
    " wav2vec2 wav2vec2-bert hubert wavlm unispeech encodec dac musicgen bark audio-spectrogram-transformer "
)
"""`model_type` of networks that end in Model but do not read text, or not only."""
_PICTURE_MAKERS = (
    "flux", "sd1", "sd2", "sd3", "sdxl", "wan", "ltxv", "hidream", "qwen_image", "lumina2", "aura", "cosmos", "hyvid",
)  # fmt: skip
"""Architectures of GGUF files that make pictures or films."""
_UNRUNNABLE = "No engine of byzer-magic runs it; %byzer doctor shows what the engines can do."


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What to deploy a model with."""

    kind: str
    """The `--pretrained_model_type`."""
    why: str
    engine: str | None = None
    """The `--infer_backend` of custom/auto."""

    @property
    def name(self) -> str:
        """Return the name that says it all: the engine's, or the family's."""
        return self.engine or self.kind


def engine(weights: Weights, hardware: Hardware, installed: Installed) -> Choice:
    """Return the engine that fits a model on this hardware; where only one can run it, also when it is not installed.

    vLLM goes first for text: it answers many at once. Where it cannot run or does not fit, transformers can.

    Raises:
        BadParameter: it is a model of a kind that no engine here runs; the text says what it is.
    """
    name = weights.path.name
    check(weights)
    _check_known(weights)
    if weights.form == "gguf":
        family = f" of the {weights.architecture} family" if weights.architecture else ""
        return Choice(kind="custom/auto", engine="llama_cpp", why=f"{name} is a GGUF model{family}")
    if weights.form in FAMILIES:
        kind, purpose = FAMILIES[weights.form]
        return Choice(kind=kind, why=f"{name} is {FORM_NAMES[weights.form]}, which {purpose}")
    if not writes(weights):
        return Choice(kind="custom/bge", why=f"{name} is a {weights.architecture}, which makes embeddings")
    what = f"{_main_file(weights)} is a {weights.architecture}"
    if "vllm" not in installed:
        return Choice(kind="custom/auto", engine="transformers", why=f"{what}, and vllm is not installed")
    fits, why = _vllm(weights, hardware, installed["vllm"])
    chosen = "vllm" if fits or "transformers" not in installed else "transformers"
    return Choice(kind="custom/auto", engine=chosen, why=f"{what}, vllm is installed, {why}")


def _vllm(weights: Weights, hardware: Hardware, packages: tuple[Package, ...]) -> tuple[bool, str]:
    """Return whether vLLM should run a model, and the facts that decide."""
    places = {place for package in packages for place in package.here(hardware)}
    if "GPU" in places:
        return True, f"{hardware.gpus[0].name} is there: vllm on the GPU"
    if "CPU" not in places:
        if not any(package.cpu for package in packages):
            return False, "but it was built for GPUs and there is none for the worker"
        return False, "but the CPU has no AVX2, which it needs"
    needs = memory.memory(weights, "vllm", hardware.for_worker(0)).total
    here = "no GPU" if not hardware.gpus else "it was built for CPUs"
    if needs > hardware.memory_free:
        free = memory.readable(hardware.memory_free)
        return False, f"but it needs {memory.readable(needs)} on the CPU, and {free} is free"
    return True, f"{here}: vllm on the CPU"


def check(weights: Weights) -> None:
    """Refuse a model that no engine runs.

    Raises:
        BadParameter: it is one; the text says what it is.
    """
    what, hint = _foreign(weights)
    if what:
        raise BadParameter(f"{weights.path} {what}.", hint or _UNRUNNABLE)


def _check_known(weights: Weights) -> None:
    """Refuse a folder whose configuration does not tell what it is; whoever names an engine may know better."""
    hint = "If an engine knows it, name that: --infer_backend transformers (or vllm)."
    if weights.form != "transformers" or writes(weights) or weights.architecture.endswith("Model"):
        return
    if not weights.architecture:
        raise BadParameter(f"{weights.path} has a config.json that names no architecture.", hint)
    raise BadParameter(f"{weights.path} is a {weights.architecture}, which is not known here.", hint)


def _foreign(weights: Weights) -> tuple[str, str]:
    """Return what a model is and the next step, when no engine here runs it; else nothing."""
    config, architecture = weights.config, weights.architecture
    if weights.form == "gguf":
        return _foreign_gguf(weights)
    if weights.form != "transformers" or "AutoModelForCausalLM" in config.get("auto_map", {}):
        return "", ""
    if "_diffusers_version" in config:
        return f"is a part of a model that makes pictures ({config.get('_class_name')})", ""
    for ending, purpose, hint in _NO_ENGINE:
        if architecture.endswith(ending):
            return f"is a {architecture}, which {purpose}", hint
    if f" {config.get('model_type')} " in _NO_TEXT:
        return f"is a {architecture} ({config['model_type']}), which works on pictures or sounds", ""
    if config.get("is_encoder_decoder") and writes(weights):
        return f"is a {architecture}, which rewrites a text (an encoder and a decoder) and does not chat", ""
    return "", ""


def _foreign_gguf(weights: Weights) -> tuple[str, str]:
    if weights.architecture in _PICTURE_MAKERS:
        return f"is a model that makes pictures ({weights.architecture})", ""
    what = gguf.stranger(weights.config)
    return (f"is no language model but {what}", "Give the language model's own file.") if what else ("", "")


def writes(weights: Weights) -> bool:
    """Return whether a model writes text, by its architecture's name or by the code that it brings."""
    return weights.architecture.endswith(_CHAT) or "AutoModelForCausalLM" in weights.config.get("auto_map", {})


def _main_file(weights: Weights) -> str:
    """Return the file that stands for a folder's weights, with the folder's name where that says more."""
    files = len(weights.files)
    return f"{weights.path.name}/{weights.files[0].name}" if files == 1 else f"{weights.path.name} ({files} files)"


# ---- an engine that the user names


_TAKES = {
    "llama_cpp": ("gguf",),
    "vllm": ("transformers", "sentence-transformers", "gguf"),
    "transformers": ("transformers", "gguf"),
    "deepspeed": ("transformers", "gguf"),
}
"""Forms that each engine of custom/auto can be given."""


def check_pair(name: str, weights: Weights) -> None:
    """Refuse an engine that the user named where it cannot run the model.

    Raises:
        BadParameter: it cannot; the hint is what can.
    """
    takes = weights.form in _TAKES.get(name, (weights.form,))
    if takes or (name == "llama_cpp" and any(weights.path.glob("*.gguf"))):
        if not weights.architecture.endswith("Model"):  # a network without a head may still make vectors
            check(weights)
        return
    what = FORM_NAMES.get(weights.form, "a folder of safetensors" if weights.dtype else "a Hugging Face folder")
    if weights.form in FAMILIES:
        hint = f"Leave --infer_backend out, or use --pretrained_model_type {FAMILIES[weights.form][0]}."
    else:
        hint = "Convert it to GGUF, or use --infer_backend vllm or transformers."
    raise BadParameter(f"{weights.path} is {what}, which {name} does not run.", hint)
