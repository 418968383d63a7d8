"""The line under an answer: model, worker, time to first token (TTFT), tokens, speed, total time, cost."""

from __future__ import annotations

from datetime import UTC, datetime

from byzer_magic.i18n import gettext as _, join, localized, ngettext
from byzer_magic.rendering.amounts import money
from byzer_magic.rendering.markup import style, tag
from byzer_magic.results import ChatResult, EmbedResult, RerankResult, Result
from byzer_magic.types import Truncation


def line(result: Result, *, by_error: bool = False) -> str:
    """Return the complete line.

    Args:
        result: the answer, complete or not.
        by_error: an error ended it, and is shown beside it.
    """
    parts = [result.model]
    if result.served_by:
        parts.append(_("served by {alias}", alias=result.served_by))
        parts += [_("{name}: {text}", name=name, text=localized(why)) for name, why in result.skipped]
    elif result.worker is not None:
        parts.append(_("worker {index}", index=result.worker))
    parts += filter(None, [contents(result)])  # audio and images have captions of their own
    parts += figures(result)
    if result.interrupted:
        parts.append(_("interrupted by an error; the partial answer is in _chat") if by_error else _("interrupted"))
    return " · ".join(parts)


def figures(result: Result) -> list[str]:
    """Return the parts of the line about where an answer comes from, its time, tokens and cost, as far as known."""
    parts = [from_journal(result)]
    if isinstance(result, ChatResult) and result.timings.first_token is not None:
        parts.append(_("TTFT {time}", time=f"{result.timings.first_token:.2f} s"))
    if result.usage:
        parts.append(_("{into} + {out} tokens", into=result.usage.prompt_tokens, out=result.usage.completion_tokens))
    if isinstance(result, ChatResult) and result.tokens_per_second:
        parts.append(_("{speed} tokens/s", speed=f"{result.tokens_per_second:.0f}"))
    known = result.journal is not None and not result.journal.replayed  # what it cost is said there
    cost = "" if known or result.usage is None else money(result.usage.cost, result.currency)
    parts += [f"{result.timings.total:.2f} s", cost]
    parts.append(warning(result))
    if isinstance(result, ChatResult) and result.finish not in (None, "stop"):
        parts.append(_("finish reason: {why}", why=result.finish))
    if isinstance(result, ChatResult) and result.raw.get("repaired"):
        parts.append(_("broken characters replaced"))
    return list(filter(None, parts))


def from_journal(result: Result) -> str:
    """Return that the answer comes from the journal, and what that has saved, or from a tape; else an empty text."""
    if result.journal is None:
        return ""
    if result.journal.replayed:
        day = datetime.fromtimestamp(result.journal.at, UTC).date()
        return _("replayed, recorded {day}", day=day.isoformat())
    if saved := money(result.saved, result.usage.currency if result.usage else ""):
        return _("from the journal, saved {cost}", cost=saved)
    return _("from the journal")


def warning(result: Result) -> str:
    """Return that the prompt was truncated, and the next step; empty where it was read."""
    truncated = result.usage.truncated if result.usage else None
    return f"⚠ {localized(join(truncated.message, truncated.hint))}" if truncated else ""


def contents(result: Result) -> str:
    """Return how many embeddings there are, and how many texts were truncated; empty for other answers."""
    if not isinstance(result, EmbedResult | RerankResult):
        return ""
    parts = [_truncated(result.truncated)] if result.truncated else []
    if isinstance(result, EmbedResult):
        rows, dimensions = result.vectors.shape
        embeddings = ngettext(
            "{count} embedding, {dimensions} dimensions", "{count} embeddings, {dimensions} dimensions",
            count=rows, dimensions=dimensions,
        )  # fmt: skip
        parts.insert(0, embeddings)
    return _("; ").join(parts)


def _truncated(truncation: Truncation) -> str:
    return ngettext(
        "{count} text was truncated at {limit} tokens", "{count} texts were truncated at {limit} tokens",
        count=len(truncation.texts), limit=f"{truncation.limit:,}",
    )  # fmt: skip


def bundle(text: str) -> dict[str, str]:
    """Return a footer as a MIME bundle, for outputs without their own: audio, images, tables."""
    return {"text/html": str(style("footer.css") + tag("div", text, class_="bz-footer")), "text/plain": text}
