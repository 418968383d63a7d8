"""The tokens of a response as they are counted, and what they show about its prompt."""

from __future__ import annotations

import msgspec

from byzer_magic.i18n import Text, lazy_gettext
from byzer_magic.i18n.fields import Localizable, unpack_texts


class PromptTruncation(msgspec.Struct, frozen=True, omit_defaults=True):
    """A prompt of which the provider has read only a part, as its token count shows; it did not say so.

    Example:
        >>> print(PromptTruncation(2050, 7900))
        Only 2,050 of about 7,900 prompt tokens were read.
    """

    read: int
    """The tokens that were read, as the provider reports."""
    total: int
    """The tokens of the whole prompt, roughly."""
    hint: Localizable = ""
    """The next step."""

    def __post_init__(self) -> None:
        """Unpack a text that has crossed a socket."""
        unpack_texts(self, "hint")

    @property
    def message(self) -> Text:
        """Return what happened, in a sentence."""
        read, total = f"{self.read:,}", f"{self.total:,}"
        return lazy_gettext("Only {read} of about {total} prompt tokens were read.", read=read, total=total)

    def __str__(self) -> str:
        return str(self.message)


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens as counted by the provider or engine.

    Example:
        >>> (Usage(10, 5) + Usage(1, 1)).total_tokens
        17
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    """What the tokens cost, in `currency`; None where the model's price is unknown."""
    currency: str = ""
    """`USD` or `CNY`; empty where the cost is unknown."""
    truncated: PromptTruncation | None = None
    """Set where the provider has read only a part of a chat's prompt."""
    cached_tokens: int = 0
    """Prompt tokens that came from the provider's cache, where it reports them."""

    def __post_init__(self) -> None:
        """Count nothing where a provider counts less than that: sums and limits are of what was used."""
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens"):
            if getattr(self, name) < 0:
                msgspec.structs.force_setattr(self, name, 0)

    @property
    def total_tokens(self) -> int:
        """Return the sum of prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, more: Usage) -> Usage:
        """Return the sum; its cost is known only where both costs are."""
        cost = None if self.cost is None or more.cost is None else self.cost + more.cost
        return Usage(
            self.prompt_tokens + more.prompt_tokens,
            self.completion_tokens + more.completion_tokens,
            cost,
            more.currency if cost is not None else "",
            self.truncated or more.truncated,
            self.cached_tokens + more.cached_tokens,
        )
