"""The parameters of providers that speak OpenAI's wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byzer_magic.backends.base import Info, Param
from byzer_magic.backends.http.params import CAPABILITIES, CONNECTION, api_key, base_url as url_param
from byzer_magic.backends.openai import schema

BASE_URL = "https://api.openai.com/v1"

_NUMBERS = {
    "temperature": ("float", "0 is always the likeliest word, 2 is wild"),
    "top_p": ("float", "choose from the likeliest words that make up this share"),
    "max_tokens": ("int", "longest answer, in tokens"),
    "max_completion_tokens": ("int", "longest answer with its reasoning, in tokens (newer models want this name)"),
    "frequency_penalty": ("float", "-2..2: against words that came often"),
    "presence_penalty": ("float", "-2..2: against words that came at all"),
    "seed": ("int", "same seed, same answer, as far as the provider can"),
    "n": (
        "int",
        "answers to one question (the ones after the first are in the result's raw data), or pictures to make",
    ),
    "top_logprobs": ("int", "alternatives told for each token"),
    "logprobs": ("bool", "tell the tokens' log probabilities"),
    "reasoning_effort": ("text", "how long to think: low, medium, high, ..."),
    "user": ("text", "who asks, for the provider's abuse checks"),
    "response_format": ("text", 'text, or a JSON object such as {"type": "json_object"}; of sounds: mp3, wav, ...'),
    "tools": ("json", "functions that the model may call, as a JSON list"),
    "dimensions": ("int", "length of the vectors that texts become"),
    "voice": ("text", "who speaks: alloy, nova, ..."),
    "speed": ("float", "how fast to speak: 0.25..4, 1 is normal"),
    "instructions": ("text", "how to speak: tone, accent, mood"),
    "language": ("text", "language of the speech to write down, such as en or zh"),
    "size": ("text", "size of pictures, such as 1024x1024"),
    "quality": ("text", "quality of pictures: standard, hd; low, medium, high"),
}
_WORDS = {
    "stop": "text, or a JSON list of texts, at which the answer ends",
    "tool_choice": "auto, none, required, or a JSON object that names a tool",
}
"""Fields that may be plain text or JSON."""

FIELDS = {
    "chat": "temperature top_p max_tokens max_completion_tokens frequency_penalty presence_penalty seed n top_logprobs"
    " logprobs reasoning_effort user response_format tools stop tool_choice",
    "embed": "dimensions user",
    "rerank": "",
    "transcribe": "language response_format temperature",
    "speak": "voice speed instructions response_format",
    "image": "n size quality response_format user",
}
"""Which of a deployment's settings belong to the requests of which capability."""


def info(kind: str, title: str, base_url: str | None = None, env: tuple[str, ...] = ("OPENAI_API_KEY",)) -> Info:
    """Return the description of a provider that speaks OpenAI's wire.

    Args:
        kind: the `--pretrained_model_type`.
        title: its name as people know it.
        base_url: its address; without one it is OpenAI's own, or any that `saas.base_url` gives.
        env: its own variables that a key may be in.
    """
    own = Param(name="saas.base_url", help="address of the API", default=base_url, aliases=("saas.api_base",))
    params = (
        api_key(
            *env,
            required=False,
            help="key of the account; not needed when saas.base_url leads to a server that asks for none",
            env_unless="saas.base_url",
        ),
        *CONNECTION,
        own if base_url else url_param(BASE_URL, "OPENAI_BASE_URL", aliases=("saas.api_base",)),
        Param(name="saas.organization", help="OpenAI organization to bill", env=("OPENAI_ORG_ID",)),
        CAPABILITIES,
        *(Param(name=f"saas.{name}", kind=kind_, help=help_) for name, (kind_, help_) in _NUMBERS.items()),
        *(Param(name=f"saas.{name}", help=help_) for name, help_ in _WORDS.items()),
    )
    return Info(kind=kind, title=title, params=params, requires=("openai",), extra="openai")


def defaults(params: Mapping[str, Any], capability: str = "chat") -> dict[str, Any]:
    """Return the request fields that the deployment sets, without their `saas.`; `saas.extra_body` comes last."""
    given = {name: params[f"saas.{name}"] for name in FIELDS[capability].split() if f"saas.{name}" in params}
    for name in ("stop", "tool_choice", "response_format"):
        if name in given:
            given[name] = schema.text_or_json(given[name])
    return {**given, **params.get("saas.extra_body", {})}


def address(params: Mapping[str, Any]) -> str:
    """Return where the provider is."""
    return str(params.get("saas.base_url") or BASE_URL)
