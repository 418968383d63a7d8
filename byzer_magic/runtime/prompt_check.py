"""Whether a provider has read a whole prompt: some truncate a long one to their context, and say nothing."""

from __future__ import annotations

import msgspec

from byzer_magic.backends.base import Info
from byzer_magic.i18n import Text, lazy_gettext as _
from byzer_magic.log import get_logger
from byzer_magic.routing import token_counts
from byzer_magic.types import ChatRequest, PromptTruncation, Request, Usage

ROOM = 1.5
"""How much longer than its prompt a context should be, for the answer and for what the estimate is wrong by."""

log = get_logger("pool")


class PromptCheck:
    """Adds to the usage of one response what it shows about the prompt.

    Args:
        request: what was sent.
        info: the backend's.
        alias: the deployment's.

    Example:
        >>> from byzer_magic.types import Message
        >>> request = ChatRequest(messages=[Message("user", "All of this counts. " * 1_500)])
        >>> check = PromptCheck(request, Info(kind="saas/acme", title="", params=()), "m")
        >>> print(check(Usage(2_050, 10)).truncated)
        Only 2,050 of about 7,500 prompt tokens were read.
    """

    def __init__(self, request: Request, info: Info, alias: str) -> None:
        self._request = request
        self._info = info
        self._alias = alias
        self._read = 0
        self._truncated: PromptTruncation | None = None
        """What is known of a prompt of which so many tokens were read: some providers count with every chunk."""

    def __call__(self, usage: Usage) -> Usage:
        """Return the usage, with the truncation of the prompt where the token count shows one."""
        if usage.truncated or not isinstance(self._request, ChatRequest):
            return usage
        # Some proxies leave out what came from a cache: then it is added, else the doubt is the provider's benefit.
        read = usage.prompt_tokens + usage.cached_tokens
        if read != self._read:
            self._read, self._truncated = read, self._look(self._request, usage.prompt_tokens, read)
        return msgspec.structs.replace(usage, truncated=self._truncated) if self._truncated else usage

    def _look(self, request: ChatRequest, reported: int, read: int) -> PromptTruncation | None:
        total = token_counts.truncated_from(request, read)
        if not total:
            return None
        found = PromptTruncation(reported, total, _hint(self._info, self._alias, reported, total))
        log.warning("%s %s", found, found.hint)
        return found


def _hint(info: Info, alias: str, read: int, total: int) -> Text:
    if info.context_param:
        option = f"{info.context_param}={_context_for(total)}"
        return _("Set a longer context: update --model {alias} --infer_params {option}", alias=alias, option=option)
    return _(
        "The server's context probably has {least} to {most} tokens: set a longer one there"
        " (Ollama: OLLAMA_CONTEXT_LENGTH), or send less.",
        least=f"{read:,}",
        most=f"{2 * read:,}",  # Ollama keeps half of its context free once it truncates
    )


def _context_for(tokens: int) -> int:
    """Return the power of two that has room for a prompt and its answer.

    Example:
        >>> _context_for(7_900)
        16384
    """
    return int(1 << (int(tokens * ROOM) - 1).bit_length())
