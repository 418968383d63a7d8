"""The parameters of providers with the OpenAI API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byzer_magic.backends.base import Info, Param
from byzer_magic.backends.http import params as shared
from byzer_magic.backends.openai import schema
from byzer_magic.capabilities import Trait
from byzer_magic.i18n import lazy_gettext as _

BASE_URL = "https://api.openai.com/v1"
TRAITS = frozenset({Trait.SEVERAL, Trait.JSON_MODE})
"""What all providers with OpenAI's API have."""
OWN_TRAITS = TRAITS | {Trait.OPENAI_FIELDS}
"""What OpenAI has."""

OPTIONS: dict[str, tuple[str, str]] = {
    **{name: shared.CHAT_OPTIONS[name] for name in ("temperature", "top_p", "max_tokens")},
    "max_completion_tokens": (
        "int",
        _("maximum length of the response including its reasoning, in tokens; newer models require this name"),
    ),
    "frequency_penalty": ("float", _("-2..2; above 0: fewer repetitions of frequent tokens")),
    "presence_penalty": ("float", _("-2..2; above 0: fewer repetitions of any token")),
    "seed": shared.CHAT_OPTIONS["seed"],
    "n": ("int", _("number of responses (those after the first are in the result's raw data), or of images")),
    "top_logprobs": ("int", _("alternatives returned for each token")),
    "logprobs": ("bool", _("return the log probabilities of the tokens")),
    "reasoning_effort": ("text", _("reasoning effort: low, medium, high, ...")),
    "user": ("text", _("identifier of the end user, for the provider's abuse monitoring")),
    "response_format": (
        "text",
        _("text, or a JSON object such as {example}; for audio: mp3, wav, ...", example='{"type": "json_object"}'),
    ),
    "tools": shared.CHAT_OPTIONS["tools"],
    "dimensions": ("int", _("dimensions of the embeddings")),
    "voice": ("text", _("voice: alloy, nova, ...")),
    "speed": ("float", _("speaking rate, 0.25..4; 1 is the normal rate")),
    "instructions": ("text", _("manner of speaking: tone, accent, emotion")),
    "language": ("text", _("language of the audio to transcribe, such as en or zh")),
    "size": ("text", _("size of the images, such as 1024x1024")),
    "quality": ("text", _("quality of the images: standard, hd; low, medium, high")),
    "stop": shared.CHAT_OPTIONS["stop"],
    "tool_choice": shared.CHAT_OPTIONS["tool_choice"],
}
"""Options of requests that a deployment may set: kind and help."""

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
    """Return the description of a provider with the OpenAI API.

    Args:
        kind: the `--pretrained_model_type`.
        title: its name as users know it.
        base_url: its base URL; None for OpenAI's own, or whatever `saas.base_url` is.
        env: its own environment variables for the key.
    """
    url_env = () if base_url else ("OPENAI_BASE_URL",)
    params = (
        shared.api_key(
            *env,
            required=False,
            help=_(
                "API key of the account, or several, separated by commas, which take turns; not needed when the server "
                "at saas.base_url requires none"
            ),
            env_unless="saas.base_url",
        ),
        *shared.CONNECTION,
        shared.base_url(base_url or BASE_URL, *url_env, aliases=("saas.api_base",)),
        Param(
            name="saas.image_hosts",
            help=_(
                "hosts and networks, separated by commas, from which images are downloaded although they are not "
                "public; * for all (default: only the server of saas.base_url)"
            ),
        ),
        Param(name="saas.organization", help=_("OpenAI organization to bill"), env=("OPENAI_ORG_ID",), header=True),
        shared.CAPABILITIES,
        *shared.option_params(OPTIONS),
    )
    traits = TRAITS if base_url else OWN_TRAITS
    return Info(kind=kind, title=title, params=params, requires=("openai",), extra="openai", traits=traits)


def defaults(params: Mapping[str, Any], capability: str = "chat") -> dict[str, Any]:
    """Return the request fields that the deployment sets, without their `saas.`; `saas.extra_body` comes last.

    Example:
        >>> defaults({"saas.temperature": 0.5, "saas.voice": "alloy", "saas.stop": '["END"]'})
        {'temperature': 0.5, 'stop': ['END']}
    """
    given = shared.given(params, FIELDS[capability].split())
    for name in ("stop", "tool_choice", "response_format"):
        if name in given:
            given[name] = schema.text_or_json(given[name])
    return {**given, **params.get("saas.extra_body", {})}
