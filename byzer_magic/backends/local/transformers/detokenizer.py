"""Decode tokens to text incrementally: complete characters only, and nothing from a stop text on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

BROKEN = "\ufffd"
"""What decoders return for bytes that are not a complete character."""
LONGEST_CHARACTER = 8
"""Tokens after which an incomplete character is returned: one has at most four bytes, emoji sequences some more."""


class Detokenizer:
    """The text of one response while its tokens arrive."""

    def __init__(self, decode: Callable[[list[int]], str], stops: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stops = stops
        self._tokens: list[int] = []
        # Tokens are decoded with those before them: the text of a token may depend on its neighbours.
        self._window = 0
        self._said = 0
        self._held = ""
        self.ended = False
        """Whether a stop text was found."""

    def add(self, token: int) -> str:
        """Return the text that a further token adds, as far as it is certain."""
        self._tokens.append(token)
        return self._up_to_stop(self._new(final=False), final=False)

    def rest(self) -> str:
        """Return the text that was held back; no token may follow."""
        return self._up_to_stop(self._new(final=True), final=True)

    def _new(self, *, final: bool) -> str:
        before = self._decode(self._tokens[self._window : self._said])
        now = self._decode(self._tokens[self._window :])
        waiting = len(self._tokens) - self._said
        if final:
            now = now.rstrip(BROKEN) if waiting else before
        elif len(now) <= len(before) or (now.endswith(BROKEN) and waiting < LONGEST_CHARACTER):
            return ""
        self._window, self._said = self._said, len(self._tokens)
        return now[len(before) :]

    def _up_to_stop(self, new: str, *, final: bool) -> str:
        if self.ended:
            return ""
        text = self._held + new
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.ended, self._held = True, ""
            return text[: min(found)]
        keep = 0 if final else max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
