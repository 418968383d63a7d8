"""What a web page or an XML document says that came in place of JSON; by `find`, which is linear on any page."""

from __future__ import annotations

import html
import re

_TAG = re.compile(r"<([a-z][\w:.-]*)(?=[\s/>])", re.IGNORECASE)
_TAGS = ("html", "head", "body", "title", "meta", "h1", "center", "div", "p")
"""Elements that pages begin with, when they leave out what comes before."""


def is_page(text: str) -> bool:
    """Return whether a text is a page or XML, not a sentence that begins with `<`.

    Example:
        >>> is_page("<!DOCTYPE html>"), is_page("<Error><Code>A</Code></Error>"), is_page("<center>502")
        (True, True, True)
        >>> is_page("<400> too long"), is_page("<|end|> is not allowed"), is_page("<think> is not allowed")
        (False, False, False)
    """
    start = text[:64].lstrip("\ufeff \t\r\n").lower()
    if start.startswith(("<!doctype", "<!--", "<?xml")):
        return True
    tag = _TAG.match(start)
    return tag is not None and (tag[1] in _TAGS or f"</{tag[1]}>" in text.lower())


def said(page: str) -> tuple[str, str]:
    """Return code and sentence: of XML, as S3 and other services have it, or the title of a page, or its text.

    Example:
        >>> said("<Error><Code>AccessDenied</Code><Message>not yours</Message></Error>")
        ('AccessDenied', 'not yours')
        >>> said("<script>'<title>'</script><title>Down</title>"), said("<body>Back <b>soon</b></body>")
        (('', 'Down'), ('', 'Back soon'))
    """
    for name in ("script", "style"):
        page = _without(page, name)
    lower = page.lower()
    for name in ("message", "faultstring", "title", "h1"):
        if found := _element(page, lower, name):
            return "" if name in ("title", "h1") else _element(page, lower, "code"), found
    text = " ".join(part.partition(">")[2] for part in page.split("<"))
    return "", " ".join(_unescaped(text).split()) or "an HTML page"


def _without(page: str, name: str) -> str:
    """Return a page without the elements of that name, which have code of their own."""
    lower, kept, at = page.lower(), [], 0
    while (start := lower.find(f"<{name}", at)) >= 0:
        kept.append(page[at:start])
        end = lower.find(f"</{name}>", start)
        at = len(page) if end < 0 else end + len(name) + 3
    return "".join(kept) + page[at:]


def _element(page: str, lower: str, name: str) -> str:
    """Return the text of the first element of that name."""
    start = lower.find(f"<{name}>")
    start = lower.find(f"<{name} ") if start < 0 else start
    inside = lower.find(">", start) + 1 if start >= 0 else 0
    end = lower.find("<", inside) if inside else -1
    return _unescaped(page[inside:end]).strip() if inside and end > inside else ""


def _unescaped(text: str) -> str:
    """Return a text with its HTML character references replaced; unchanged if one of them is not a valid number.

    Example:
        >>> _unescaped("a &lt; b"), _unescaped("&#" + "9" * 5000) == "&#" + "9" * 5000
        ('a < b', True)
    """
    try:
        return html.unescape(text)
    except ValueError:  # int() refuses thousands of digits
        return text
