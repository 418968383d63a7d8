"""Results are where the user finds them before they are shown: showing may fail, and may be interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from byzer_magic.errors import ByzerError, CommandError
from byzer_magic.i18n import gettext, lazy_gettext as _


class Interrupted(CommandError):
    """The user stopped the response; the part received is kept."""


class Kept:
    """Where results are put: `_chat`, and variables that the user names."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._is_new = False

    def put(self, value: Any, name: str | None = None) -> None:
        """Put a result into `_chat`, and into a variable of that name."""
        self._shell.user_ns["_chat"] = value
        self._is_new = True
        if name:
            self._shell.user_ns[name] = value

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Say where the result is if the block, which asks for it and shows it, ends after it has been put there.

        Raises:
            Interrupted: by Ctrl-C while it was being shown.
        """
        self._is_new = False
        try:
            yield
        except KeyboardInterrupt:
            if not self._is_new:
                raise
            raise Interrupted(_("Interrupted while the response was being displayed: it is kept in _chat.")) from None
        except ByzerError:
            raise
        except Exception as err:  # it is raised again
            if self._is_new:
                err.add_note(gettext("The response is kept in _chat."))
            raise
