"""The API and the model that requests go to, and provider's texts without the secrets that they may have."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from byzer_magic import errors
from byzer_magic.backends.http import json_reader, reasons
from byzer_magic.backends.network import Network
from byzer_magic.log import redact
from byzer_magic.safety import urls

MAX_REASON_CHARS = 400
"""Longest text of a provider's own that is passed on."""
_CONTROLS = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)"
    "|[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069]"
)
"""Escape sequences of terminals, control characters other than white space, and those that turn text around."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The API and the model that requests go to: what its errors name, and the secrets they must not contain."""

    model: str
    base_url: str
    secrets: tuple[str, ...] = ()
    hints: Mapping[int, str] = field(default_factory=dict)
    """Next steps by status, for a provider whose settings have other names than OpenAI's."""
    codes: Mapping[str, int] = field(default_factory=dict)
    """Statuses of the provider's own error codes, for errors that come without a status."""
    patterns: Sequence[tuple[type[errors.ProviderError], str]] = ()
    """What a 400 is, by a pattern of its code and sentence: a class of `verdicts.BY_CLASS` each."""
    network: Network = field(default_factory=Network)
    """How requests leave the machine: errors of connections name the proxy and what has set it."""

    @property
    def host(self) -> str:
        """Return host and port of the provider."""
        return urlsplit(self.base_url).netloc.rpartition("@")[2] or self.base_url

    @property
    def url(self) -> str:
        """Return the base URL without its password."""
        return urls.without_password(self.base_url)

    def redacted(self, text: str) -> str:
        r"""Return `text` on one line, without what drives a terminal, keys, parts of keys, or what looks like one.

        Only its beginning is searched and returned: a body can be long.

        Example:
            >>> Endpoint("gpt-4o", "https://api.x.com/v1", ("my-own-key-123456",)).redacted("no key my-own-key-12")
            'no key ***'
            >>> Endpoint("gpt-4o", "https://api.x.com/v1").redacted("\x1b[31mred\x1b[0m \x07bell\x00")
            'red bell'
        """
        text = _CONTROLS.sub("", json_reader.repaired(reasons.bounded(str(text))))
        text = redact(text, (*self.secrets, *self.network.hidden))
        text = " ".join(_without_echo(word) for word in text.split())
        return text if len(text) <= MAX_REASON_CHARS else text[:MAX_REASON_CHARS] + "..."


def _without_echo(word: str) -> str:
    """Return a word without the key in it that its provider has hidden in part.

    Example:
        >>> _without_echo("sk-ab***yz."), _without_echo("word")
        ('***.', 'word')
    """
    stars = word.find("***")
    if stars < 0:
        return word
    end = next((at for at in range(stars, len(word)) if word[at] in ".,;"), len(word))
    return "***" + ("" if "***" in word[end:] else word[end:])
