"""Hiding secrets in texts: whole or in part, in the encodings of the web, and whatever looks like a key.

All of it takes time in proportion to the text: one pass over it for all secrets.
"""

from __future__ import annotations

import base64
import binascii
import functools
import html
import json
import re
import string
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

HIDDEN = "***"
PART = 8
"""Characters of a secret in a row that are hidden wherever they are."""
SHORTEST = 4
"""Shorter secrets are ignored: hiding them would hide ordinary words."""
KEY_SHAPES = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{6,}|xai-[A-Za-z0-9]{16,}|gsk_[A-Za-z0-9]{16,}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{16,}"
    r"|glpat-[A-Za-z0-9_-]{16,}|xox[abprs]-[A-Za-z0-9-]{10,}|A(?:KIA|SIA)[A-Z0-9]{12,}|AIza[A-Za-z0-9_-]{24,}"
    r"|Bearer\s+[A-Za-z0-9._~+/=-]{8,})"
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"
)
"""Text that looks like a key, whatever its source."""
_BASIC = re.compile(r"\bBasic\s+([A-Za-z0-9+/_-]{4,}={0,2})", re.IGNORECASE)
_FIELD = re.compile(
    r"[\"'][\w-]{0,40}(?:api[_-]?key|access[_-]?key|secret[_-]?key|token|secret|password|authorization)[\"']\s*:\s*"
    r"[\"'](?P<value>[^\"']{4,})",
    re.IGNORECASE,
)
"""A field of JSON, or of a dict's repr, that holds a secret by its name."""
_IN_URL = re.compile(
    r"(?<=://)(?P<user>[^\s/?#@'\"<>]+)(?=@)"
    r"|(?:(?<=[ps]:/)|(?<=https:)|(?<=http:))(?P<both>[^\s/?#@'\"<>:]{1,256}:[^\s/?#@'\"<>:]{1,256})(?=@)"
    r"|[?&][a-z0-9_-]{0,40}(?:key|token|secret|signature|sig|password|credential)=(?P<value>[^&\s#'\"<>]+)",
    re.IGNORECASE,
)
"""User and password of a URL, and keys in its query."""

_LOWER = {ord(letter): ord(letter.lower()) for letter in string.ascii_uppercase}
"""Parts are compared without regard to case: servers change that of headers. No length changes so."""

Span = tuple[int, int]


def hide(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return a text with ``***`` in place of secrets, parts of them, and what looks like a key.

    Args:
        text: any text.
        secrets: the secrets that are known; white space in them and in the text does not count.

    Example:
        >>> hide("401 for sk-abcdef123456 of https://me:pw@e.org and hunter2", ("hunter2",))
        '401 for *** of https://***@e.org and ***'
    """
    return _without(text, sorted([*_shapes(text), *_known(text, secrets)]))


def hide_known(text: str, secrets: tuple[str, ...]) -> str:
    """Return a text with ``***`` in place of these secrets and parts of them only."""
    return _without(text, sorted(_known(text, secrets)))


def _without(text: str, spans: list[Span]) -> str:
    shown: list[str] = []
    end = 0
    for first, last in spans:
        if first > end or not shown:
            shown += [text[end:first], HIDDEN]
        end = max(end, last)
    return "".join([*shown, text[end:]])


def _shapes(text: str) -> Iterator[Span]:
    for found in KEY_SHAPES.finditer(text):
        yield found.span()
    for found in _BASIC.finditer(text):
        if _is_user_and_password(found[1]):
            yield found.span()
    patterns = [_IN_URL] if "@" in text or "=" in text else []  # without them it takes long, and finds nothing
    for pattern in (*patterns, _FIELD):
        for found in pattern.finditer(text):
            yield found.span(found.lastgroup or 0)


def _is_user_and_password(encoded: str) -> bool:
    try:
        return b":" in base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_" if "_" in encoded else None)
    except (binascii.Error, ValueError):
        return False


def _known(text: str, secrets: tuple[str, ...]) -> Iterator[Span]:
    parts, short = _forms(secrets)
    for each in short:
        at = text.find(each)
        while at >= 0:
            yield at, at + len(each)
            at = text.find(each, at + len(each))
    if not parts or len(text) < PART:
        return
    places = [at for at, character in enumerate(text) if not character.isspace()]
    bare = "".join(text.split()).translate(_LOWER)
    for at in range(len(bare) - PART + 1):
        if bare[at : at + PART] in parts:
            yield places[at], places[at + PART - 1] + 1


@functools.lru_cache(maxsize=256)
def _forms(secrets: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return all parts of the long forms of secrets, and their short forms as they are."""
    parts: set[str] = set()
    short: set[str] = set()
    for secret in secrets:
        bare = "".join(secret.split())
        for form in encodings(bare) if len(bare) >= SHORTEST else ():
            if len(form) < PART:
                short |= {form, secret.strip()}  # the latter has white space in between
            form = form.translate(_LOWER)
            parts.update(form[at : at + PART] for at in range(len(form) - PART + 1))
    return frozenset(parts), tuple(short)


def encodings(secret: str) -> set[str]:
    """Return a secret as URLs, JSON, HTML, Python, base64 and hexadecimal digits write it, and as it is.

    Example:
        >>> {"a/b+c", "a%2Fb%2Bc", "612f622b63"} <= encodings("a/b+c")
        True
    """
    data = secret.encode("utf-8", "surrogatepass")
    found = {secret, data.decode("latin-1"), html.escape(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    found |= {json.dumps(secret, ensure_ascii=False)[1:-1], data.hex()}
    found |= {json.dumps(secret)[1:-1].replace("/", r"\/"), quote(quote(data, safe=""), safe="")}
    for raw in {data, secret.encode("latin-1", "ignore")}:
        found |= {repr(raw)[2:-1], quote(raw), quote(raw, safe=""), quote_plus(raw)}
    for before in range(3):  # base64 of the secret behind something else: its letters depend on the place
        size = before + len(data)
        whole = base64.b64encode(bytes(before) + data).decode()[-(-before * 8 // 6) : size * 8 // 6]
        found |= {whole, whole.replace("+", "-").replace("/", "_"), quote(whole, safe="")}
    return {form for form in found if len(form) >= SHORTEST}
