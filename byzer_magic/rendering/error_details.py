"""Details of an error beside its message and hint: folded away in HTML, indented in text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from byzer_magic.errors import ByzerError
from byzer_magic.i18n import gettext as _
from byzer_magic.log import redact
from byzer_magic.rendering.markup import style, tag

LONGEST_CHAIN = 5
LONGEST_CAUSE = 400
LOG_LINES = 30


@dataclass(frozen=True, kw_only=True)
class Details:
    """Rows of a name and a value, and the end of a log, with secrets redacted."""

    rows: tuple[tuple[str, str], ...] = ()
    log: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rows or self.log)


def details(err: ByzerError, log: Sequence[str] = (), hidden: tuple[str, ...] = ()) -> Details:
    """Collect the details of an error; empty when there is nothing but its class.

    Args:
        err: the error.
        log: lines of the worker's log.
        hidden: secrets to redact.
    """
    labels = {
        "status": _("HTTP status"),
        "provider_code": _("Provider error code"),
        "id": _("Request ID"),
        "request_id": _("The provider's request ID"),
        "retry_after": _("Retry after"),
    }
    rows = [(label, _value(name, err.details[name])) for name, label in labels.items() if err.details.get(name)]
    rows += [(_("Caused by"), text) for text in causes(err)]
    if rows or log:
        rows.insert(0, (_("Error type"), err.code))
    return Details(
        rows=tuple((name, redact(text, hidden)) for name, text in rows),
        log=tuple(redact(line, hidden) for line in log[-LOG_LINES:]),
    )


def _value(name: str, value: object) -> str:
    return _("{n} s", n=value) if name == "retry_after" else str(value)


def causes(err: BaseException) -> list[str]:
    """Return the causes of an error, nearest first, a line each; repetitions are left out."""
    found: list[str] = []
    shown = str(err)
    cause = err.__cause__
    while cause is not None and len(found) < LONGEST_CHAIN:
        text = " ".join(str(cause).split())
        if text not in shown:
            name = type(cause).__name__
            found.append(f"{name}: {text[:LONGEST_CAUSE]}" if text else name)
            shown = text
        cause = cause.__cause__
    return found


def bundle(known: Details) -> dict[str, str]:
    """Return the details as a MIME bundle, shown below the error."""
    return {"text/html": str(to_html(known)), "text/plain": to_text(known)}


def to_html(known: Details) -> Markup:
    """Return the details, folded away under `Show details`."""
    rows = [tag("dt", name) + tag("dd", text) for name, text in known.rows]
    if known.log:
        label = _("Last lines of the worker log")
        log = tag("pre", "\n".join(known.log), tabindex=0, role="region", aria_label=label)
        rows.append(tag("dt", label) + tag("dd", log))
    fold = tag("details", tag("summary", _("Show details")), tag("dl", *rows))
    return tag("div", style("failure.css"), fold, class_="bz-failure")


def to_text(known: Details) -> str:
    """Return the same as lines."""
    rows = [f"  {name}: {text}" for name, text in known.rows]
    title = _("Last lines of the worker log")
    log = [f"  {title}:", *(f"    {line}" for line in known.log)] if known.log else []
    return "\n".join([_("Details:"), *rows, *log])
