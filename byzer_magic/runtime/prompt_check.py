"""Whether a provider has read a whole prompt: some truncate a long one to their context, and say nothing."""

from __future__ import annotations

import msgspec

from byzer_magic.backends.base import Info
from byzer_magic.i18n import Text, lazy_gettext as _
from byzer_magic.log import get_logger
from byzer_magic.routing import token_counts
from byzer_magic.types import ChatRequest, PromptTruncation, Request, Usage

ROOM = 1.25
"""How much longer than its prompt a context should be, for the answer and for what the estimate is wrong by."""

log = get_logger("pool")


def checked(request: Request, usage: Usage, info: Info, alias: str) -> Usage:
    """Return the usage of a response, with the truncation of its prompt where the token count shows one.

    Args:
        request: what was sent.
        usage: as the provider reports it.
        info: the backend's.
        alias: the deployment's.

    Example:
        >>> from byzer_magic.types import Message
        >>> request = ChatRequest(messages=[Message("user", "All of this counts. " * 1_500)])
        >>> print(checked(request, Usage(2_050, 10), Info(kind="saas/acme", title="", params=()), "m").truncated)
        Only 2,050 of about 7,500 prompt tokens were read.
    """
    read = usage.prompt_tokens
    if usage.truncated or not isinstance(request, ChatRequest):
        return usage
    # Some proxies leave out what came from a cache: then it is added, else the doubt is the provider's benefit.
    total = token_counts.truncated_from(request, read + usage.cached_tokens)
    if not total:
        return usage
    truncated = PromptTruncation(read, total, _hint(info, alias, read, total))
    log.warning("%s %s", truncated, truncated.hint)
    return msgspec.structs.replace(usage, truncated=truncated)


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
