"""Loggers of the package, and the filter that keeps secrets out of them."""

from __future__ import annotations

import logging
import re

from byzer_magic.i18n import Text

ROOT = "byzer_magic"
KEY_SHAPES = re.compile(r"\b(sk-[A-Za-z0-9_-]{6,}|Bearer\s+[A-Za-z0-9._~+/=-]{8,}|AKIA[A-Z0-9]{12,})")
"""Text that looks like a key, wherever it comes from."""


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return `text` with the given secrets, and whatever looks like a key, replaced by ``***``.

    A text that can be translated stays one: secrets can only be in its values.

    Example:
        >>> redact("token abcd1234 was refused", ("abcd1234",))
        'token *** was refused'
    """
    if isinstance(text, Text) and text.values:
        pairs = (
            (name, redact(value, secrets) if isinstance(value, str) else value) for name, value in text.values.items()
        )
        return Text(text.template, text.plural, dict(pairs))
    for secret in sorted(secrets, key=len, reverse=True):  # a secret may begin with another one
        if len(secret) >= 4:  # shorter ones would blank out ordinary words
            text = text.replace(secret, "***")
    return KEY_SHAPES.sub("***", text)


class RedactingFilter(logging.Filter):
    """Rewrites each record so that no known secret reaches a handler."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place and let it pass."""
        record.msg = redact(record.getMessage(), self._secrets)
        record.args = None
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        if record.exc_text:
            record.exc_text = redact(record.exc_text, self._secrets)
        if record.stack_info:
            record.stack_info = redact(record.stack_info, self._secrets)
        return True


def get_logger(name: str) -> logging.Logger:
    """Return a logger below ``byzer_magic``; handlers and levels are the application's choice."""
    return logging.getLogger(f"{ROOT}.{name}")


logging.getLogger(ROOT).addHandler(logging.NullHandler())
