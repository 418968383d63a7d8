"""Parameters of a transformers deployment and options of a request.

Loading: https://huggingface.co/docs/transformers/main_classes/model#transformers.PreTrainedModel.from_pretrained.
Generation: https://huggingface.co/docs/transformers/main_classes/text_generation; with OpenAI's names beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from byzer_magic.backends.base import Param
from byzer_magic.backends.engine.adapters import ALLOWED_PARAM
from byzer_magic.backends.openai import schema as openai_schema
from byzer_magic.errors import BadRequest, Unsupported, suggest
from byzer_magic.i18n import lazy_gettext as _, listed

LOADING = {
    "dtype": ("text", _("data type of the weights: auto (the model's own; float32 on a CPU without bfloat16), "
                        "float32, bfloat16, float16")),
    "device": ("text", _("device that the model runs on: cpu, cuda, cuda:1, mps (default: a GPU when the worker "
                         "has one)")),
    "device_map": ("text", _("placement of layers on devices: auto, balanced, sequential, or JSON (default auto "
                             "on several GPUs)")),
    "max_memory": ("json", _("memory limit of each device, for device_map, e.g. {\"0\": \"20GiB\", \"cpu\": "
                             "\"30GiB\"}")),
    "offload_folder": ("text", _("folder for layers that device_map cannot place on a device")),
    "quantization": ("text", _("load the weights in 8bit or 4bit with bitsandbytes")),
    "quantization_config": ("json", _("any other quantization, e.g. {\"quant_method\": \"hqq\", \"nbits\": 4}")),
    "attn_implementation": ("text", _("attention implementation: sdpa, eager, flash_attention_2, ...")),
    "trust_remote_code": ("bool", _("run Python code that comes with the model (default false)")),
    "chat_template": ("text", _("chat template (Jinja): a file, or the template itself")),
    "response_template": ("text", _("how tool calls are parsed from the text (response_template of "
                                    "transformers): a file or JSON")),
    "tokenizer": ("text", _("folder of the tokenizer, if it is not in the model's folder")),
    "adapter": ("text", _("folder of a LoRA or other PEFT adapter")),
    "enable_lora": ("bool", _("let requests choose an adapter, with the option lora (default false)")),
    "allowed_lora_path": ("text", ALLOWED_PARAM.help),
    "max_model_len": ("int", _("context length: prompt and response together, in tokens (default: the model's)")),
}  # fmt: skip
"""Type and help of the parameters that control how a model is loaded."""

GENERATION = {
    "temperature": ("float", _("sampling temperature; 0 is greedy (default: the model's generation_config.json)")),
    "top_p": ("float", _("nucleus sampling: sample from the smallest set of tokens with this total probability")),
    "top_k": ("int", _("sample from this many of the most likely tokens; 0 is all")),
    "min_p": ("float", _("exclude tokens less likely than this fraction of the most likely token")),
    "typical_p": ("float", _("locally typical sampling; 1 is off")),
    "repetition_penalty": ("float", _("penalty for tokens of the prompt and response; 1 is off")),
    "no_repeat_ngram_size": ("int", _("no sequence of this many tokens appears twice; 0 is off")),
    "frequency_penalty": ("float", _("penalty that grows with a token's count in the response")),
    "presence_penalty": ("float", _("penalty for tokens that are in the response")),
    "do_sample": ("bool", _("sample instead of greedy decoding (default: when temperature is above 0)")),
    "max_tokens": ("int", _("maximum length of the response, in tokens")),
    "stop": ("text", _("text, or a JSON list of texts, at which generation stops")),
    "seed": ("int", _("seed for sampling")),
}
"""Request fields that a deployment may set for all of its requests."""

ALIASES = {"max_completion_tokens": "max_tokens", "max_new_tokens": "max_tokens", "stop_strings": "stop"}
REQUEST_ONLY = ("lora", "tools", "tool_choice", "chat_template_kwargs", "response_format", "n", "extra_body")
DTYPES = ("auto", "float32", "bfloat16", "float16")
_CHOICES = {"dtype": DTYPES, "quantization": ("4bit", "8bit")}
_DEFAULTS: dict[str, Any] = {"dtype": "auto", "trust_remote_code": False}
_PARAM_ALIASES = {"max_tokens": ("max_new_tokens",), "dtype": ("torch_dtype",), "adapter": ("lora_path",)}

PARAMS = tuple(
    Param(name=name, kind=kind, help=text, default=_DEFAULTS.get(name), choices=_CHOICES.get(name, ()),
          aliases=_PARAM_ALIASES.get(name, ()))
    for name, (kind, text) in (LOADING | GENERATION).items()
)  # fmt: skip

_INFINITE = float("inf")
_ABOVE_ZERO = 1e-9
"""A lower bound that excludes 0."""
_BOUNDS: dict[str, tuple[type, float, float]] = {
    "temperature": (float, 0, _INFINITE),
    "top_p": (float, _ABOVE_ZERO, 1),
    "top_k": (int, -1, _INFINITE),
    "min_p": (float, 0, 1),
    "typical_p": (float, _ABOVE_ZERO, 1),
    "repetition_penalty": (float, _ABOVE_ZERO, _INFINITE),
    "no_repeat_ngram_size": (int, 0, _INFINITE),
    "frequency_penalty": (float, -2, 2),
    "presence_penalty": (float, -2, 2),
    "max_tokens": (int, 1, _INFINITE),
    "seed": (int, -(2**63), 2**63 - 1),
}
_CHANCE = ("top_p", "top_k", "min_p", "typical_p")
"""Options that have no effect without sampling."""
_NEUTRAL = {"repetition_penalty": 1, "no_repeat_ngram_size": 0, "frequency_penalty": 0, "presence_penalty": 0}
_PADDING_MATTERS = ("repetition_penalty", "no_repeat_ngram_size")
"""Options that look at the prompt, and would count its padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Settings for generating one response."""

    sampling: tuple[tuple[str, Any], ...]
    """Arguments of `generate`; requests that agree in them can be batched."""
    limit: int | None = None
    stops: tuple[str, ...] = ()
    seed: int | None = None
    tools: tuple[dict[str, Any], ...] = ()
    template: tuple[tuple[str, Any], ...] = ()
    """Variables for the chat template."""
    lora: Any = None
    """The adapter that the request chooses, as it names it."""

    def group(self, prompt: int) -> tuple[Any, ...]:
        """Return what two requests must have in common to be batched, given this one's prompt length in tokens."""
        named = dict(self.sampling)
        same_length = prompt if any(name in named for name in _PADDING_MATTERS) else None
        alone = object() if named["do_sample"] and self.seed is not None else None
        return (self.sampling, same_length, alone)


def generation(defaults: Mapping[str, Any], options: Mapping[str, Any]) -> Generation:
    """Return the settings from the deployment's defaults and a request's options.

    Raises:
        BadRequest: an option is unknown (the nearest is in the hint) or out of bounds.
        Unsupported: transformers does not support it.
    """
    own = _named({**options, **(options.get("extra_body") or {})})
    given = _named(defaults)
    if "temperature" in own:
        given.pop("do_sample", None)  # a temperature implies it
    asked = {**given, **own}
    for name, value in asked.items():
        _check(name, value)
    _check_supported(asked)
    return Generation(
        sampling=tuple(sorted(_sampling(asked).items())),
        limit=asked.get("max_tokens"),
        stops=_stops(asked.get("stop")),
        seed=asked.get("seed"),
        tools=() if asked.get("tool_choice") == "none" else tuple(asked.get("tools") or ()),
        template=tuple((asked.get("chat_template_kwargs") or {}).items()),
        lora=asked.get("lora"),
    )


def _named(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are set, under the names of `GENERATION`."""
    found = {}
    for name, value in options.items():
        ours = ALIASES.get(name, name)
        if ours not in GENERATION and ours not in REQUEST_ONLY:
            known = (*GENERATION, *ALIASES, *REQUEST_ONLY)
            raise BadRequest(
                _("transformers has no option {name!r}.", name=name),
                suggest(name, known, _("Options: {generation}.", generation=listed(GENERATION))),
            )
        if value is not None:
            found[ours] = value
    found.pop("extra_body", None)
    return found


def _check(name: str, value: Any) -> None:
    kind, least, most = _BOUNDS.get(name, (None, 0, 0))
    if name == "do_sample" and not isinstance(value, bool):
        raise BadRequest(
            _("{name} is {value!r}, which is not true or false.", name=name, value=value),
            _("Use a valid value, or leave it out."),
        )
    if kind is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else int):
        if kind is float:
            raise BadRequest(
                _("{name} is {value!r}, which is not a number.", name=name, value=value),
                _("Use a valid value, or leave it out."),
            )
        raise BadRequest(
            _("{name} is {value!r}, which is not an integer.", name=name, value=value),
            _("Use a valid value, or leave it out."),
        )
    if not least <= value <= most:
        raise BadRequest(_out_of_bounds(name, value, least, most), _("Use a valid value, or leave it out."))


def _out_of_bounds(name: str, value: float, least: float, most: float) -> str:
    if least == _ABOVE_ZERO:
        if most == _INFINITE:
            return _("{name} is {value}; it must be above 0.", name=name, value=value)
        return _("{name} is {value}; it must be above 0 and at most {most:g}.", name=name, value=value, most=most)
    if most == _INFINITE:
        return _("{name} is {value}; it must be at least {least:g}.", name=name, value=value, least=least)
    facts = {"name": name, "value": value, "least": least, "most": most}
    return _("{name} is {value}; it must be at least {least:g} and at most {most:g}.", **facts)


def _check_supported(asked: Mapping[str, Any]) -> None:
    form = asked.get("response_format")
    if form and not (isinstance(form, dict) and form.get("type") == "text"):
        raise Unsupported(
            _("transformers does not support response_format."),
            _("Deploy the model with --infer_backend vllm or llama_cpp."),
        )
    if asked.get("n", 1) != 1:
        raise Unsupported(
            _("The transformers engine returns one response per request (n=1)."), _("Send several requests.")
        )
    if asked.get("tool_choice", "auto") not in ("auto", "none"):
        raise Unsupported(
            _("transformers cannot force a tool call (tool_choice)."),
            _("Leave it at auto, or deploy the model with --infer_backend vllm."),
        )


def _sampling(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `generate` for sampling."""
    names = [name for name in asked if name in _BOUNDS and name not in ("max_tokens", "seed")]
    found = {name: _BOUNDS[name][0](asked[name]) for name in names}  # transformers insists on floats
    if found.get("top_k") == -1:
        found["top_k"] = 0
    for name, neutral in _NEUTRAL.items():
        if found.get(name) == neutral:
            del found[name]
    chance = asked.get("do_sample")
    if "temperature" in asked and (chance is None or asked["temperature"] == 0):
        chance = asked["temperature"] > 0
    if chance is None:
        chance = any(name in asked for name in _CHANCE)
    if not chance:
        found = {name: value for name, value in found.items() if name not in ("temperature", *_CHANCE)}
    return {**found, "do_sample": chance}


def _stops(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = openai_schema.text_or_json(value)
    found = (value,) if isinstance(value, str) else tuple(value or ())
    if not all(isinstance(text, str) and text for text in found):
        raise BadRequest(
            _("stop is {value!r}, which is not a string or a list of strings.", value=value),
            _("Use a valid value, or leave it out."),
        )
    return found
