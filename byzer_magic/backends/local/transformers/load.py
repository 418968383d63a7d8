"""Loading a causal language model into transformers, as the parameters specify.

Imports torch and transformers, so it is imported in workers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from byzer_magic.backends.base import Setup
from byzer_magic.backends.engine import loading, torch_device
from byzer_magic.backends.local.transformers import check as transformers_check
from byzer_magic.backends.openai import schema as openai_schema
from byzer_magic.errors import BadParameter, EngineFailed
from byzer_magic.files import paths
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.local_models.files import Weights

_REFUSALS = {"attn_implementation": "attn_implementation", "quantization_config": "quantization type"}
"""Parameters that only transformers can check, and the words in its messages about them."""
SHOWN = 3
"""Missing weights that an error names."""
ABSURD_LENGTH = 10**9
"""Tokenizers without a limit report a number beyond this."""
FALLBACK_CONTEXT = 4096
"""Tokens of context when neither model nor tokenizer knows a limit."""


def load(setup: Setup, weights: Weights, device: str | None = None) -> tuple[Any, Any, int]:
    """Return the network, its tokenizer and its context length in tokens; `device` overrides the parameters.

    Raises:
        EngineFailed: weights are missing, or the device is not there.
        Exception: whatever transformers raises.
    """
    params = setup.params
    transformers.utils.logging.disable_progress_bar()
    source = _source(weights, params)
    where = {"device_map": device} if device else placement(setup)
    dtype = data_type(params, weights, where["device_map"])
    network, report = _read({**source, **where, "dtype": dtype}, params)
    _check_complete(weights, report)
    if "adapter" in params:
        _adapt(network, paths.expanded(params["adapter"]))
    tokenizer = _tokenizer(source, params)
    return network.eval(), tokenizer, _context(network, tokenizer, params)


def _read(settings: dict[str, Any], params: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the network, and what transformers reports about its weights."""
    try:
        found: tuple[Any, dict[str, Any]] = transformers.AutoModelForCausalLM.from_pretrained(
            **settings,
            attn_implementation=params.get("attn_implementation"),
            quantization_config=_quantization(params),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # `_check_complete` refuses them, by name
        )
    except ValueError as err:
        for name, words in _REFUSALS.items():
            if name in params and words in str(err):
                reason = " ".join(str(err).split())[:400]
                raise BadParameter(
                    _("transformers rejected {name}: {reason}", name=name, reason=reason),
                    _("Change {name}, or leave it out.", name=name),
                ) from err
        raise
    return found


def _adapt(network: Any, path: Path) -> None:
    try:
        network.load_adapter(str(path))
    except Exception as err:  # peft may raise anything at files that do not fit
        raise loading.failed("peft", path, err) from err


def _source(weights: Weights, params: Mapping[str, Any]) -> dict[str, Any]:
    common = {"trust_remote_code": bool(params.get("trust_remote_code")), "local_files_only": True}
    if weights.format == "gguf":
        return {"pretrained_model_name_or_path": str(weights.path.parent), "gguf_file": weights.path.name, **common}
    return {"pretrained_model_name_or_path": str(weights.path), **common}


def _tokenizer(source: dict[str, Any], params: Mapping[str, Any]) -> Any:
    if "tokenizer" in params:
        source = {
            name: value for name, value in source.items() if name != "gguf_file"
        } | {"pretrained_model_name_or_path": str(paths.expanded(params["tokenizer"]))}  # fmt: skip
    tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
    template = transformers_check.text_or_file("chat_template", params)
    if template is not None:
        tokenizer.chat_template = template
    answer = transformers_check.response_template(params)
    if answer is not None:
        tokenizer.response_template = answer
    return tokenizer


def placement(setup: Setup) -> dict[str, Any]:
    """Return where the weights go; one device is a map, too: they are read straight into it."""
    params = setup.params
    device = torch_device.of_worker(params.get("device"), setup.gpus)
    if "device_map" in params:
        more = {name: params[name] for name in ("offload_folder",) if name in params}
        if "max_memory" in params:
            more["max_memory"] = {int(k) if k.isdigit() else k: size for k, size in params["max_memory"].items()}
        return {"device_map": openai_schema.text_or_json(params["device_map"]), **more}
    if setup.gpus > 1 and device.startswith("cuda") and "device" not in params:
        return {"device_map": "auto"}
    return {"device_map": device}


def data_type(params: Mapping[str, Any], weights: Weights, where: Any) -> Any:
    """Return the data type; on a CPU that has no bfloat16, halves would be many times slower than float32."""
    if params["dtype"] != "auto":
        return getattr(torch, params["dtype"])
    if params.get("quantization") == "8bit":
        return torch.float16  # what bitsandbytes computes in; it complains of all others, layer by layer
    if where == "cpu" and (
        weights.format == "gguf" or not torch.backends.mkldnn.is_available() or not _fast_bfloat16()
    ):
        return torch.float32
    if weights.format == "gguf":
        return torch.float16 if where != "cpu" else torch.float32
    return "auto"


def _fast_bfloat16() -> bool:
    look = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(look and look())


def _quantization(params: Mapping[str, Any]) -> Any:
    if "quantization" in params:
        return transformers.BitsAndBytesConfig(**{f"load_in_{params['quantization']}": True})
    return params.get("quantization_config")


def _check_complete(weights: Weights, report: Mapping[str, Any]) -> None:
    """Refuse a model of which parts would be random numbers: transformers only logs that."""
    wrong = sorted(report.get("mismatched_keys") or (), key=str)
    if wrong:
        name, theirs, ours = wrong[0]
        values = {"theirs": list(theirs), "ours": list(ours), "count": len(wrong)}
        raise EngineFailed(
            _(
                "{path} has inconsistent files: {name} has the shape {theirs}, but config.json implies {ours} "
                "(weights that differ: {count}).",
                path=weights.path,
                name=name,
                **values,
            ),
            _("Download the model again."),
        )
    missing = sorted(report.get("missing_keys") or ())
    if missing:
        facts = {"path": weights.path, "architecture": weights.architecture or "ForCausalLM", "count": len(missing)}
        raise EngineFailed(
            _(
                "{path} lacks {count} weights of a {architecture}, which would be random: {names}.",
                names=listed(missing[:SHOWN]),
                **facts,
            ),
            _("Download the model again; if it is an embedding model, deploy it as custom/bge."),
        )


def _context(network: Any, tokenizer: Any, params: Mapping[str, Any]) -> int:
    config = network.config.get_text_config()
    own = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    if own is None and tokenizer.model_max_length < ABSURD_LENGTH:
        own = tokenizer.model_max_length
    return int(params.get("max_model_len") or own or FALLBACK_CONTEXT)
