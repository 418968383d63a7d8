"""Options of a request for its backend: what only one provider's platform knows is left out elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from byzer_magic.gateway.deployments import Facts
from byzer_magic.types import Message

PLATFORM = frozenset(
    {
        "audio", "metadata", "modalities", "prediction", "prompt_cache_key", "prompt_cache_retention",
        "safety_identifier", "service_tier", "store", "user", "verbosity",
    }
)  # fmt: skip
"""Fields of OpenAI's that change nothing of an answer's meaning, and that servers of others refuse."""
CLAUDE = frozenset({"thinking", "context_management", "output_config", "container", "mcp_servers", "metadata"})
"""Fields of Anthropic's that no other API has."""
CLAUDE_PLATFORM = frozenset(
    {
        "billing_policy", "cache_control", "diagnostics", "fallback_credit_token", "fallbacks", "inference_geo",
        "speed", "user_profile_id", "workspace_id",
    }
)  # fmt: skip
"""Fields of Anthropic's that change nothing of an answer's meaning."""
IDLE: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,), "presence_penalty": (0,), "logprobs": (False,), "top_logprobs": (0,), "n": (1,),
    "logit_bias": ({},), "tools": ([],), "stop": ([], ""), "parallel_tool_calls": (True,),
    "response_format": ({"type": "text"},),
}  # fmt: skip
"""Values that ask for nothing, and that clients send all the same."""
JSON_ONLY = "Respond with a single valid JSON object and nothing else: no Markdown, no explanation."
"""The instruction in place of JSON mode, where an API has only schemas."""


def for_backend(options: dict[str, Any], facts: Facts) -> dict[str, Any]:
    """Return options without those that mean nothing to a backend.

    Args:
        options: fields of OpenAI's, and of Anthropic's that have no counterpart.
        facts: about the deployment that gets them.

    Example:
        >>> llama = Facts(frozenset({"chat"}), frozenset({"json_mode"}))
        >>> for_backend({"temperature": 0, "store": False, "n": 1, "thinking": {"type": "disabled"}}, llama)
        {'temperature': 0}
    """
    drop = frozenset() if facts.is_openai else PLATFORM - ({"metadata"} if facts.is_claude else set())
    drop = drop if facts.is_claude else drop | (CLAUDE - {"metadata"}) | CLAUDE_PLATFORM
    found = {
        name: value
        for name, value in options.items()
        if name not in drop and not (name in IDLE and value in IDLE[name])
    }
    if not found.get("tools"):
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            found.pop(name, None)
    if facts.is_claude:
        _for_claude(found)
    return found


def _for_claude(options: dict[str, Any]) -> None:
    options.pop("seed", None)
    metadata = options.get("metadata")
    if not (isinstance(metadata, dict) and metadata.keys() <= {"user_id"}):
        options.pop("metadata", None)


def with_json_mode(
    messages: Sequence[Message], options: dict[str, Any], facts: Facts
) -> tuple[list[Message], dict[str, Any]]:
    """Return messages and options without what an API does not have: JSON mode, and the role of a developer.

    Example:
        >>> llama = Facts(frozenset({"chat"}), frozenset({"json_mode"}))
        >>> with_json_mode([Message("developer", "Be brief.")], {}, llama)[0][0].role
        'system'
    """
    if not facts.is_openai:
        messages = [
            msgspec.structs.replace(message, role="system") if message.role == "developer" else message
            for message in messages
        ]
    if facts.has_json_mode or options.get("response_format") != {"type": "json_object"}:
        return list(messages), options
    rest = {name: value for name, value in options.items() if name != "response_format"}
    first = messages[0] if messages else Message("user", "")
    if first.role in ("system", "developer") and isinstance(first.content, str):
        return [msgspec.structs.replace(first, content=f"{first.content}\n\n{JSON_ONLY}"), *messages[1:]], rest
    return [Message("system", JSON_ONLY), *messages], rest
