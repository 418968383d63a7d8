"""Checks of a model for transformers that import nothing heavy: files, architecture, packages."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from typing import Any

from byzer_magic.backends.base import Setup
from byzer_magic.backends.local.transformers import params as transformers_params
from byzer_magic.errors import BadParameter, ByzerError, MissingExtra
from byzer_magic.files import paths, text_files
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.local_models import files

PACKAGES = {
    "bitsandbytes": "bitsandbytes", "bitsandbytes_4bit": "bitsandbytes", "bitsandbytes_8bit": "bitsandbytes",
    "gptq": "gptqmodel", "awq": "gptqmodel", "aqlm": "aqlm", "hqq": "hqq", "torchao": "torchao", "eetq": "eetq",
    "quanto": "optimum.quanto", "compressed-tensors": "compressed_tensors", "vptq": "vptq", "spqr": "spqr_quant",
    "auto-round": "auto_round", "quark": "quark", "fp_quant": "fp_quant",
}  # fmt: skip
"""Import name of what each quantization needs: https://huggingface.co/docs/transformers/quantization/overview."""
_PIP_NAMES = {"optimum.quanto": "optimum-quanto", "compressed_tensors": "compressed-tensors",
              "auto_round": "auto-round", "quark": "amd-quark"}  # fmt: skip
_NO_TEXT = ("ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering",
            "ForMultipleChoice", "ForImageClassification", "ForPreTraining", "Model", "ForCTC")  # fmt: skip
"""Endings of architectures that do not generate text."""
_OTHERS = {
    "sentence-transformers": "It makes embeddings: deploy it with --pretrained_model_type custom/bge.",
    "reranker": "It orders documents: deploy it with --pretrained_model_type custom/bge_rerank.",
    "whisper": "It writes down speech: deploy it with --pretrained_model_type custom/whisper.",
    "ctranslate2": "It writes down speech: deploy it with --pretrained_model_type custom/whisper.",
    "funasr": "It writes down speech: deploy it with --pretrained_model_type custom/sensevoice.",
    "piper": "It speaks: deploy it with --pretrained_model_type custom/piper.",
}


def check(setup: Setup) -> files.Weights:
    """Return the files' description, when a causal language model can be loaded from them with the parameters.

    Raises:
        BadParameter: they contain another kind of model, lack a tokenizer, or parameters exclude each other.
        MissingExtra: a package is missing that the parameters or the weights need.
    """
    weights = files.inspect(setup.model_path)
    if weights.format in _OTHERS:
        raise BadParameter(
            _("{path} is not a text generation model ({format}).", path=weights.path, format=weights.format),
            _OTHERS[weights.format],
        )
    params = setup.params
    if weights.format == "gguf":
        _check_gguf(weights, params)
    else:
        _check_architecture(weights)
        if "tokenizer" not in params:
            files.need_tokenizer(weights)
    _check_folders(params)
    _check_length(weights, params)
    _check_quantization(weights, params)
    _check_devices(params)
    text_or_file("chat_template", params)
    response_template(params)
    defaults = {name: params[name] for name in transformers_params.GENERATION if name in params}
    try:
        transformers_params.generation({}, defaults)
    except ByzerError as err:
        raise BadParameter(err.message, err.hint) from err
    return weights


def text_or_file(name: str, params: Mapping[str, Any]) -> str | None:
    """Return the text of a parameter, or of the file that it names.

    Raises:
        BadParameter: it looks like a path, but there is no such file.
    """
    value: str | None = params.get(name)
    if value is None or any(mark in value for mark in ("{{", "{%", "{", "\n")):
        return value
    path = paths.expanded(value)
    if not path.is_file():
        raise BadParameter(
            _("{name} is {value!r}, which is neither a file nor a template.", name=name, value=value), paths.near(path)
        )
    found = text_files.read(path)
    if found.problem:
        raise BadParameter(found.problem, _("{name} takes a file with a Jinja template.", name=name))
    return found.text


def response_template(params: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the response template.

    Raises:
        BadParameter: it is not a JSON object.
    """
    text = text_or_file("response_template", params)
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as err:
        raise BadParameter(_("response_template is not valid JSON: {err}.", err=err), _("Use a file or JSON.")) from err
    if not isinstance(found, dict):
        raise BadParameter(_("response_template is not a JSON object."), _("Use a file or JSON."))
    return found


def _check_gguf(weights: files.Weights, params: Mapping[str, Any]) -> None:
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtra(_("transformers needs the package gguf to read .gguf files, and it is not installed."),
                           _("Run: pip install gguf"))  # fmt: skip
    if len(weights.files) > 1:
        raise BadParameter(
            _(
                "{name} is split into {count_files} files, which transformers cannot read.",
                name=weights.path.name,
                count_files=len(weights.files),
            ),
            _("Use --infer_backend llama_cpp."),
        )
    for name in ("quantization", "quantization_config", "adapter", "enable_lora"):
        if name in params:
            raise BadParameter(
                _("{name} cannot be used with a .gguf file.", name=name),
                _("Leave it out, or specify a folder of weights."),
            )


def _check_architecture(weights: files.Weights) -> None:
    own_code = weights.config.get("auto_map", {})
    if weights.architecture.endswith(_NO_TEXT) and "AutoModelForCausalLM" not in own_code:
        raise BadParameter(
            _(
                "{path} is a {architecture}, which does not generate text.",
                path=weights.path,
                architecture=weights.architecture,
            ),
            _("Use a chat model (its config.json names a ...ForCausalLM)."),
        )


def _check_folders(params: Mapping[str, Any]) -> None:
    for name, file in (("tokenizer", ""), ("adapter", "adapter_config.json")):
        if name in params:
            path = paths.expanded(params[name])
            if not path.is_dir():
                raise BadParameter(
                    _("{name} is {params!r}, which is not a folder.", name=name, params=params[name]), paths.near(path)
                )
            if file and not (path / file).is_file():
                raise BadParameter(
                    _("{path} is not an adapter: it has no {file}.", path=path, file=file),
                    _("Specify the folder that contains it."),
                )
    if ("adapter" in params or params.get("enable_lora")) and importlib.util.find_spec("peft") is None:
        raise MissingExtra(_("An adapter needs the package peft, which is not installed."), _("Run: pip install peft"))
    if "allowed_lora_path" in params and not params.get("enable_lora"):
        raise BadParameter(_("{name} has no effect without enable_lora.", name="allowed_lora_path"),
                           _("Add enable_lora=true."))  # fmt: skip


def _check_length(weights: files.Weights, params: Mapping[str, Any]) -> None:
    wanted = params.get("max_model_len")
    if wanted is not None and wanted < 1:
        raise BadParameter(
            _("max_model_len is {wanted}, which is not a positive number.", wanted=wanted),
            _("Use a number of tokens, or leave it out."),
        )
    if wanted and weights.context and wanted > weights.context:
        raise BadParameter(
            _(
                "max_model_len is {wanted:,}, but the model supports {context:,} tokens.",
                wanted=wanted,
                context=weights.context,
            ),
            _("Use at most {context}, or leave it out.", context=weights.context),
        )


def _check_quantization(weights: files.Weights, params: Mapping[str, Any]) -> None:
    config = params.get("quantization_config")
    if config is not None and "quantization" in params:
        raise BadParameter(_("quantization and quantization_config exclude each other."), _("Leave one of them out."))
    if config is not None and not (isinstance(config, dict) and (_method(config))):
        raise BadParameter(
            _("quantization_config has no quant_method."),
            _(
                'Example: {"quant_method": "hqq", "nbits": 4}; see the quantization page of the transformers '
                "documentation."
            ),
        )
    own = weights.config.get("quantization_config") or {}
    method = "bitsandbytes" if "quantization" in params else _method(config or own)
    package = PACKAGES.get(method)
    if package and not _installed(package):
        raise MissingExtra(
            _(
                "Quantization with {method} needs the package {package}, which is not installed.",
                method=method,
                package=package,
            ),
            _("Run: pip install {get}", get=_PIP_NAMES.get(package, package)),
        )


def _method(config: Mapping[str, Any]) -> str:
    if config.get("load_in_4bit") or config.get("load_in_8bit"):
        return "bitsandbytes"
    return str(config.get("quant_method") or "")


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the parent of a dotted name
        return False


def _check_devices(params: Mapping[str, Any]) -> None:
    if "device" in params and "device_map" in params:
        raise BadParameter(_("device and device_map exclude each other."), _("Leave one of them out."))
    if ("device_map" in params or "quantization" in params) and not _installed("accelerate"):
        raise MissingExtra(_("device_map needs the package accelerate, which is not installed."),
                           _("Run: pip install accelerate"))  # fmt: skip
    for name in ("max_memory", "offload_folder"):
        if name in params and "device_map" not in params:
            raise BadParameter(_("{name} has no effect without device_map.", name=name), _("Add device_map=auto."))
