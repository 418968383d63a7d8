"""Why a model stopped, by OpenAI's names: data, and the function that applies it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from byzer_magic.backends.http.errors import ErrorResponse
from byzer_magic.i18n import lazy_gettext as _

MAX_CHARS = 64
UNKNOWN = "unknown"
"""What replaces a finish reason that is not a plain word: it may quote a key."""

NAMES: dict[str, str | None] = {
    **dict.fromkeys(("", "null", "none", "continue"), None),  # not finished yet
    **dict.fromkeys(("end_turn", "eos", "eos_token", "stop_sequence", "complete", "completed", "finished"), "stop"),
    **dict.fromkeys(("max_tokens", "max_output_tokens", "max_length", "model_length", "token_limit"), "length"),
    **dict.fromkeys(("tool_use", "tool_call"), "tool_calls"),
    **dict.fromkeys(("sensitive", "safety", "recitation", "blocklist", "prohibited_content"), "content_filter"),
}
"""Finish reasons by other names, such as Gemini's, Claude's, Zhipu's and TGI's; any other word is passed on."""
_USUAL = ("stop", "length", "tool_calls", "content_filter", "function_call")
_FAILED = re.compile(r"error|fail|abort|exception|unavailable|overload|insufficient|time_?d?_?out|malformed|cancel")
"""Finish reasons of responses that failed: "error" (OpenRouter), "network_error" (Zhipu, https://docs.bigmodel.cn),
"insufficient_system_resource" (DeepSeek, https://api-docs.deepseek.com), "abort" (vLLM) and others."""
_WORDS = re.compile(r"[a-z_]+")


def finish_of(reason: Any, own: Mapping[str, str] | None = None) -> str | None:
    """Return a finish reason by OpenAI's name; None when the response goes on.

    Args:
        reason: as the provider puts it.
        own: the provider's names that are not in `NAMES`, or mean something else.

    Raises:
        ErrorResponse: it says that the response failed.

    Example:
        >>> finish_of("STOP"), finish_of("max_tokens"), finish_of("")
        ('stop', 'length', None)
        >>> finish_of("stop at sk-0123456789")
        'unknown'
    """
    if reason is None or reason in _USUAL:
        found: str | None = reason
        return found
    if not isinstance(reason, str):
        return None
    if own and reason in own:
        return own[reason]
    name = reason[:MAX_CHARS].strip().lower().replace("-", "_").replace(" ", "_")
    if failure := _FAILED.search(name):
        raise ErrorResponse(failed(name, failure[0]))
    return NAMES.get(name, name if _WORDS.fullmatch(name) else UNKNOWN)


def is_known(finish: str) -> bool:
    """Return whether a finish reason is one of OpenAI's, with which a model may well answer nothing.

    Example:
        >>> is_known("stop"), is_known("load")
        (True, False)
    """
    return finish in _USUAL


def failed(finish: str, word: str = "other") -> dict[str, Any]:
    """Return the error of a response that failed by its finish reason.

    Args:
        finish: the reason.
        word: what is said of it when it is more than words: it may be a sentence, or quote a key.
    """
    shown = finish if _WORDS.fullmatch(finish) else word
    return {"message": _("the response ended with finish reason {reason}", reason=shown), "code": 500}
