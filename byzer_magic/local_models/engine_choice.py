"""Which engine fits a model: what `--infer_backend auto` chooses, and why.

Pure: from the model's files, the hardware, and the engines with what is installed of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from byzer_magic.errors import BadParameter
from byzer_magic.i18n import join, lazy_gettext as _, listed
from byzer_magic.local_models import files, gguf, memory
from byzer_magic.local_models.engine_facts import CPU, GPU, HEADLESS
from byzer_magic.local_models.files import Weights
from byzer_magic.local_models.hardware import Hardware
from byzer_magic.local_models.installed import Engine, Engines, file_formats

_CHAT = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
"""Endings of architectures that generate text."""
_TASKS = {
    "ForMaskedLM": _("masked language modeling"),
    "ForPreTraining": _("pretraining"),
    "ForSequenceClassification": _("text classification"),
    "ForTokenClassification": _("token classification"),
    "ForQuestionAnswering": _("extractive question answering"),
    "ForMultipleChoice": _("multiple choice"),
    "ForImageClassification": _("image classification"),
    "ForObjectDetection": _("object detection"),
    "Segmentation": _("image segmentation"),
    "ForDepthEstimation": _("depth estimation"),
    "ForAudioClassification": _("audio classification"),
    "ForCTC": _("speech recognition with CTC"),
    "ForSpeechSeq2Seq": _("speech recognition (other than Whisper)"),
}
"""Tasks, in Hugging Face's terms, that no engine here runs, by the ending of the architecture."""
_TASK_HINTS = {
    "ForMaskedLM": _("For embeddings from its last layer, add --pretrained_model_type custom/bge."),
    "ForPreTraining": _("For embeddings from its last layer, add --pretrained_model_type custom/bge."),
    "ForCTC": _("Use a Whisper or SenseVoice model."),
    "ForSpeechSeq2Seq": _("Use a Whisper or SenseVoice model."),
}
_NO_TEXT = (
    " clip siglip siglip2 chinese_clip clap vit deit beit swin swinv2 dinov2 dinov3_vit resnet convnext sam sam2 vits"
    " wav2vec2 wav2vec2-bert hubert wavlm unispeech encodec dac musicgen bark audio-spectrogram-transformer "
)
"""`model_type` of networks that end in Model but do not read text, or not only."""
_IMAGE_GENERATORS = (
    "flux", "sd1", "sd2", "sd3", "sdxl", "wan", "ltxv", "hidream", "qwen_image", "lumina2", "aura", "cosmos", "hyvid",
)  # fmt: skip
"""Architectures of GGUF files that generate images or video."""


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
        """Return the engine's name, or the family's type: the key in `Engines`."""
        return self.engine or self.kind


def choose(weights: Weights, hardware: Hardware, engines: Engines) -> Choice:
    """Return the engine that fits a model on this hardware.

    Of the engines that `auto` may take for the format, the first by rank that is installed and fits; when there is
    none, the last by rank, which is the least demanding.

    Args:
        weights: the model.
        hardware: what a worker can use.
        engines: all engines, installed or not.

    Raises:
        BadParameter: no engine runs this kind of model; the message names the kind.
    """
    check(weights)
    _check_known(weights)
    form = HEADLESS if weights.format == "transformers" and not generates_text(weights) else weights.format
    candidates = _candidates(form, engines)
    if not candidates:
        raise BadParameter(
            _("No engine can load {path} ({format}).", path=weights.path, format=form),
            _("Run %byzer doctor to see the engines."),
        )
    reasons = []
    for engine in candidates[:-1]:
        fits, reason = _fits(weights, hardware, engine)
        reasons.append(reason)
        if fits:
            return _choice(engine, weights, reasons, engines)
    last = candidates[-1]
    others = [engine for engine in candidates[:-1] if engine.usable]
    if last.usable or not others:
        return _choice(last, weights, reasons, engines)
    reasons.append(_("{engine} is not installed", engine=last.name))
    return _choice(others[0], weights, reasons, engines)


def _candidates(form: str, engines: Engines) -> list[Engine]:
    """Return the engines that `auto` may choose for a format, by rank."""
    found = [engine for engine in engines.values() if form in engine.facts.auto]
    return sorted(found, key=lambda engine: (engine.facts.auto[form], engine.name))


def _choice(engine: Engine, weights: Weights, reasons: list[str], engines: Engines) -> Choice:
    why = join(_described(weights, engines), *reasons, separator=_("; "))
    if "/" in engine.name:
        return Choice(kind=engine.name, why=why)
    return Choice(kind="custom/auto", engine=engine.name, why=why)


def _described(weights: Weights, engines: Engines) -> str:
    """Return what a model is."""
    name = _main_file(weights)
    if weights.format == "transformers":
        return _("{name} is a {architecture}", name=name, architecture=weights.architecture)
    if weights.format == "gguf" and weights.architecture:
        return _("{name} is a GGUF model of the {family} family", name=name, family=weights.architecture)
    return _("{name} is {format}", name=weights.path.name, format=_title(weights, engines))


def _title(weights: Weights, engines: Engines) -> str:
    """Return what a model's format is called."""
    own = {form.name: form.title for form in file_formats(engines)}
    if weights.format == "transformers" and weights.dtype:
        return _("a folder of safetensors")
    return (files.FORMATS | own).get(weights.format, weights.format)


def _fits(weights: Weights, hardware: Hardware, engine: Engine) -> tuple[bool, str]:
    """Return whether an engine can run a model on this hardware, and the fact that decides."""
    name, devices = engine.name, engine.runs_on(hardware)
    if not engine.usable:
        if engine.wanted:
            return False, _("{engine} is installed in a version that does not work", engine=name)
        return False, _("{engine} is not installed", engine=name)
    if GPU in devices:
        return True, _("{engine} runs on the GPU ({gpu})", engine=name, gpu=hardware.gpus[0].name)
    if CPU not in devices:
        if not any(CPU in package.devices for package in engine.usable):
            return False, _("{engine} was built for GPUs, but the worker has none", engine=name)
        return False, _("{engine} needs a CPU with AVX2", engine=name)
    need = memory.estimate(weights, engine, hardware.for_worker(0)).total
    if need > hardware.memory_free:
        amounts = {"needed": memory.readable(need), "free": memory.readable(hardware.memory_free)}
        return False, _("{engine} needs {needed} of memory, but only {free} is free", engine=name, **amounts)
    if hardware.gpus:
        return True, _("{engine} was built for CPUs and runs on the CPU", engine=name)
    return True, _("{engine} runs on the CPU (no GPU available)", engine=name)


def check(weights: Weights) -> None:
    """Refuse a model that no engine runs.

    Raises:
        BadParameter: no engine runs it; the message names its kind.
    """
    if weights.format == "gguf":
        _check_gguf(weights)
    elif weights.format == "transformers" and "AutoModelForCausalLM" not in weights.config.get("auto_map", {}):
        _check_task(weights)


def _check_gguf(weights: Weights) -> None:
    if weights.architecture in _IMAGE_GENERATORS:
        raise _unsupported(weights, _("image generation"))
    if what := gguf.other_model(weights.config):
        raise BadParameter(
            _("{path} is not a language model but {what}.", path=weights.path, what=what),
            _("Specify the file of the language model."),
        )


def _check_task(weights: Weights) -> None:
    config, architecture = weights.config, weights.architecture
    if "_diffusers_version" in config:
        raise BadParameter(
            _("{path} is part of an image generation model ({name}).", path=weights.path,
              name=config.get("_class_name")),
            _("Run %byzer doctor to see what the engines can do."),
        )  # fmt: skip
    for ending, task in _TASKS.items():
        if architecture.endswith(ending):
            raise _unsupported(weights, task, _TASK_HINTS.get(ending, ""))
    if f" {config.get('model_type')} " in _NO_TEXT:
        raise _unsupported(weights, _("images or audio"))
    if config.get("is_encoder_decoder") and generates_text(weights):
        raise _unsupported(weights, _("text-to-text generation (encoder-decoder) without chat"))


def _unsupported(weights: Weights, task: str, hint: str = "") -> BadParameter:
    facts = {"path": weights.path, "architecture": weights.architecture, "task": task}
    return BadParameter(
        _("{path} is a model for {task} ({architecture}), which no engine supports.", **facts),
        hint or _("Run %byzer doctor to see what the engines can do."),
    )


def _check_known(weights: Weights) -> None:
    """Refuse a folder whose configuration does not show what it is; a user who names an engine may know better."""
    if weights.format != "transformers" or generates_text(weights) or weights.architecture.endswith("Model"):
        return
    hint = _("If an engine supports it, choose that engine: --infer_backend transformers (or vllm).")
    if not weights.architecture:
        raise BadParameter(_("{path} has a config.json that does not name an architecture.", path=weights.path), hint)
    facts = {"path": weights.path, "architecture": weights.architecture}
    raise BadParameter(_("{path} has an unknown architecture: {architecture}.", **facts), hint)


def generates_text(weights: Weights) -> bool:
    """Return whether a model generates text, by its architecture's name or by the code that comes with it."""
    return weights.architecture.endswith(_CHAT) or "AutoModelForCausalLM" in weights.config.get("auto_map", {})


def _main_file(weights: Weights) -> str:
    """Return the name of a folder's only file with weights, after the folder's; else how many files there are."""
    count = len(weights.files)
    if weights.format != "transformers":
        return weights.path.name
    return f"{weights.path.name}/{weights.files[0].name}" if count == 1 else f"{weights.path.name} ({count} files)"


# ---- an engine that the user names


def check_pair(name: str, weights: Weights, engines: Engines) -> None:
    """Refuse an engine that the user named when it cannot load the model.

    Raises:
        BadParameter: the engine cannot load it; the hint names those that can.
    """
    formats = engines[name].facts.formats if name in engines else (weights.format,)
    if weights.format in formats or ("gguf" in formats and any(weights.path.glob("*.gguf"))):
        if not weights.architecture.endswith("Model"):  # a network without a head may still make embeddings
            check(weights)
        return
    facts = {"path": weights.path, "format": _title(weights, engines), "engine": name}
    message = _("{path} is {format}, which {engine} cannot load.", **facts)
    able = [engine for engine in engines.values() if weights.format in engine.facts.formats]
    if family := next((engine.name for engine in able if "/" in engine.name), ""):
        raise BadParameter(
            message, _("Leave --infer_backend out, or use --pretrained_model_type {family}.", family=family)
        )
    names = listed(engine.name for engine in able)
    if formats == ("gguf",) and weights.format == "transformers":
        raise BadParameter(message, _("Convert it to GGUF, or use another engine: {engines}.", engines=names))
    raise BadParameter(message, _("Leave --infer_backend out, or use another engine: {engines}.", engines=names))
