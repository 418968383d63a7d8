"""The package's loggers, and the filter that removes secrets from log records."""

from __future__ import annotations

import logging
from typing import Any

from byzer_magic.i18n import Text
from byzer_magic.safety.redaction import hide

ROOT = "byzer_magic"


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return a text with known secrets, and whatever looks like a key, replaced by ``***``; a lazy text stays lazy.

    Args:
        text: any text, such as a provider's error.
        secrets: values to hide, also in part and encoded; those of fewer than 4 characters are ignored.

    Example:
        >>> redact("401 for sk-abcdef123456 of user hunter2", ("hunter2",))
        '401 for *** of user ***'
    """
    if isinstance(text, Text) and text.values:  # secrets are among the values, never in a template
        values = {name: _redacted(value, secrets) for name, value in text.values.items()}
        return Text(text.template, text.plural, values)
    redacted = hide(str(text), secrets)
    return text if redacted == text else redacted


def _redacted(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [_redacted(item, secrets) for item in value]
    return redact(value, secrets) if isinstance(value, str) else value


class RedactingFilter(logging.Filter):
    """Removes known secrets from each record, its traceback included, before a handler gets it."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place and pass it on."""
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
    """Return a logger below ``byzer_magic``; handlers and levels are left to the application.

    Example:
        >>> get_logger("runtime.pool").name
        'byzer_magic.runtime.pool'
    """
    return logging.getLogger(f"{ROOT}.{name}")


logging.getLogger(ROOT).addHandler(logging.NullHandler())
