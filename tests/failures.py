"""Errors as they reach a user."""

from __future__ import annotations

from byzer_magic import errors


def chained() -> errors.ByzerError:
    """Return an error with two causes, one of which quotes a secret."""
    try:
        try:
            raise OSError("no route for token-0123456789")
        except OSError as err:
            raise ValueError("<b>bad</b>") from err
    except ValueError as err:
        try:
            raise errors.ProviderUnavailable("It is down.", "Try later.", status=503, retry_after=2.0) from err
        except errors.ByzerError as found:
            return found
