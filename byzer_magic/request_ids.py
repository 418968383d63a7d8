"""Ids of requests: one id goes with a request from its client through the pool to the provider, and into their logs."""

from __future__ import annotations

import logging
import re
import secrets
from contextvars import ContextVar

CURRENT: ContextVar[str] = ContextVar("byzer_request_id", default="")
"""The id of the request that a task works on; empty outside of requests."""
HEADERS = ("x-request-id", "x-client-request-id")
"""Where providers get it: most servers and proxies log the first, OpenAI the second."""
PREFIX = "req_"
_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)


def new() -> str:
    """Return an id that no other request has."""
    return f"{PREFIX}{secrets.token_hex(16)}"


def checked(text: str) -> str:
    r"""Return an id that somebody else has sent; empty where it is none, such as one that would break a log line.

    Example:
        >>> checked("job-7"), checked("job 7\n2026-11-27 ERROR")
        ('job-7', '')
    """
    return text if _ID.fullmatch(text) else ""


def short(text: str) -> str:
    """Return an id as users see and type it.

    Example:
        >>> short("req_0123456789abcdef0123456789abcdef")
        '01234567'
    """
    return text.removeprefix(PREFIX)[:8]


def headers() -> dict[str, str]:
    """Return the headers with which a provider gets the id of the current request; none outside of requests."""
    current = CURRENT.get()
    return dict.fromkeys(HEADERS, current) if current else {}


class Formatter(logging.Formatter):
    """Formats records with the id of the request that they are about, at the end of their first line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - a name of logging's
        """Return the first line of a record."""
        current = CURRENT.get()
        return super().formatMessage(record) + (f" ({current})" if current else "")
