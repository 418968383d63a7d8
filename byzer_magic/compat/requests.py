"""What byzer-llm's calls send, as conversations and options of OpenAI's form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from byzer_magic.compat.tags import parts, separated

_RENAMED = {"max_length": "max_tokens"}
_PREFIXES = ("gen.", "generation.")
_OWN = frozenset({"stream", "request_id", "abort", "response_prefix", "lora_name", "lora_int_id"})
"""Settings of byzer-llm's own that are no fields of a request."""
_BARE = frozenset({
    "max_length", "temperature", "top_p", "adapter_name_or_path", "stop", "max_tokens", "max_completion_tokens",
    "n", "seed", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs", "response_format",
    "reasoning_effort", "extra_body", "top_k",
})  # fmt: skip
"""Settings that are sent without a prefix; byzer-llm sends no others, and programs keep settings of their own there."""


def options_of(llm_config: Mapping[str, Any] | None, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return byzer-llm's `llm_config` as fields of a request.

    Args:
        llm_config: e.g. ``{"max_length": 100, "temperature": 0, "gen.stop": ["x"]}``; a name that is neither one of
            byzer-llm's nor OpenAI's needs the prefix ``gen.`` to be sent.
        more: `extra_request_params`, sent as they are.

    Example:
        >>> options_of({"max_length": 100, "gen.stop": '["x"]'})
        {'max_tokens': 100, 'stop': ['x']}
    """
    found: dict[str, Any] = {}
    for name, value in (llm_config or {}).items():
        bare = next((name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)), name)
        if bare == name and name not in _BARE:
            continue
        if bare == "adapter_name_or_path":
            found |= {"lora": {"name": (llm_config or {}).get("lora_name", ""), "path": value}} if value else {}
        elif bare not in _OWN and value is not None:
            found[_RENAMED.get(bare, bare)] = _stops(value) if bare == "stop" else value
    if more:
        found["extra_body"] = {**found.get("extra_body", {}), **more}
    return found


def _stops(value: Any) -> Any:
    """Return stop texts; byzer-llm also takes them as JSON."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def turns_of(conversations: Any, image: Any = None, *, media: bool = True) -> list[dict[str, Any]]:
    """Return a conversation as messages of OpenAI's form.

    Args:
        conversations: a text, or messages, also as `LLMHistoryItem`; byzer-llm's own field `metadata` is left out.
        image: an image for the last message, base64 as in byzer-llm's `llm_config`, or a URL.
        media: whether media in the texts become parts.

    Example:
        >>> turns_of("hello")
        [{'role': 'user', 'content': 'hello'}]
    """
    if isinstance(conversations, str):
        conversations = [{"role": "user", "content": conversations}]
    found = [_turn(turn, media=media) for turn in conversations]
    if image:
        found[-1]["content"] = [_image_part(image), *_listed(found[-1].get("content"))]
    return found


def _image_part(image: str) -> dict[str, Any]:
    url = image if ":" in image[:16] else f"data:image/png;base64,{image}"  # what it is, is seen in its bytes
    return {"type": "image_url", "image_url": {"url": url}}


def _listed(content: Any) -> list[Any]:
    """Return the content of a message as parts."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(content or [])


def _turn(turn: Any, *, media: bool) -> dict[str, Any]:
    found = dict(turn) if isinstance(turn, Mapping) else {"role": turn.role, "content": turn.content}
    found.pop("metadata", None)
    if media:
        found["content"] = _content(found.get("content"))
    return found


def _content(value: Any) -> Any:
    """Return the content of a message: byzer-llm's JSON and tags for media as parts."""
    if not isinstance(value, str):
        return value
    listed = _json_list(value)
    return parts(value) if listed is None else [part for item in listed for part in _parts_of(item)]


def _json_list(text: str) -> list[dict[str, Any]] | None:
    """Return a message that is JSON for vision: a list of objects with images; None for any other."""
    if not text.lstrip().startswith("[") or "image" not in text:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    objects = isinstance(found, list) and all(isinstance(item, dict) for item in found)
    return found if objects and any("image" in item or "image_url" in item for item in found) else None


def _parts_of(item: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """Return one object of that JSON as parts of a message."""
    if item.get("type") == "image_url" and isinstance(item["image_url"], Mapping):
        return [{**item, "image_url": {**item["image_url"], "url": _url(item["image_url"].get("url", ""))}}]
    if "type" in item:
        return [dict(item)]
    image = item.get("image") or item.get("image_url")
    text = item.get("text")
    found: list[dict[str, Any]] = []
    if image:
        others = {name: value for name, value in item.items() if name not in ("image", "image_url", "text")}
        found.append({"type": "image_url", "image_url": {"url": _url(image), **others}})
    return [*found, {"type": "text", "text": text}] if text else found


def _url(text: str) -> str:
    """Return the URL of an image that may be inside its tag."""
    return next(iter(separated(text, "image")[1]), text)
