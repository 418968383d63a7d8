"""The terms on which a server takes requests: what its refusals have taught about how to put the next one.

Responses are streamed wherever the server can: a model that only streams works, `saas.timeout` limits silences, and
closing the connection stops the model. What a server refuses of that is left out from then on: `stream_options`, or
streaming itself, perhaps only together with an option; a field that has another name is renamed. Nobody lists
these: they depend on the model, the account and the server's version, and the server's own sentence is up to date.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from byzer_magic.errors import BadRequest, ByzerError, StreamTruncated
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import ChatChunk

_STREAM = r"(?<!non-)(?<!non )(?<!non)\bstream(?:s|ing|ed)?\b"
_NOT = r"(?:not|n't|cannot|unable to|no|never)"
_TAKE = r"(?:support|allow|available|enabled|implement|permit|accept|compatible|able)"
REFUSES_STREAM = re.compile(
    rf"{_NOT}\W+(?:be |yet |currently )?{_TAKE}\w*\b[^.]{{0,60}}{_STREAM}"
    rf"|{_STREAM}[^.]{{0,60}}(?:{_NOT} (?:be |yet |currently )?{_TAKE}|unsupported|disabled)"
    rf"|(?:unsupported|disabled|verified)\b[^.]{{0,30}}{_STREAM}"
    r"|(?:unrecogni[sz]ed|unknown|unexpected|extra|invalid) (?:\w+ ){0,2}(?:argument|parameter|field|key|propert|input)"
    rf"\w*\b[^.]{{0,30}}{_STREAM}"
    rf"|{_STREAM}\W{{0,3}}(?:parameter|field|option|mode|flag)?\W{{0,3}}"
    r"(?:must|should|has to|needs to) be (?:set to )?\W?(?:false|disabled|off|0\b)"
    rf"|(?:set|use|pass|with) (?:the )?(?:parameter )?\W?{_STREAM}\W*+(?:(?:to|as)\W*+)?(?:false|off)"
    r"|only\b[^.]{0,30}\bnon-?\s?stream|仅支持非流式|只支持非流式"
    r"|InvokeModelWithResponseStream"
    r"|不支持[^。]{0,20}(?<!非)流式|(?<!非)流式[^。]{0,20}不支持",
    re.IGNORECASE,
)
"""Sentences of servers that cannot stream, or not in this case. Some of them are:

- OpenAI, "Your organization must be verified to stream this model."
  (https://help.openai.com/en/articles/10910291-api-organization-verification);
- Bedrock, "The model is unsupported for streaming.", and for a key that may invoke but not stream, "not authorized to
  perform: bedrock:InvokeModelWithResponseStream"
  (https://docs.aws.amazon.com/bedrock/latest/userguide/inference-prereq.html).
"""

WITH_OPTION = {
    "tools": r"\btools?\b|function.call",
    "response_format": r"response_format|\bjson|structured",
    "n": r"[\"'`]?\bn\b[\"'`]? ?(?:=|>|must|is)|multiple (?:choices|completions|responses)",
    "best_of": r"best_of",
    "logprobs": r"logprobs",
}
"""Options with which some servers do not stream, and how their sentences name them.

One of them is Bedrock, "This model doesn't support tool use in streaming mode."
(https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html).
"""


_SUCCESSOR = re.compile(
    r"(?:\b(?:use|try|switch to|replaced (?:by|with)|renamed (?:to|as))|改用|使用)\W+"
    r"(?:(?:the|parameter|field|参数)\W+)*(?P<name>[a-z][a-z0-9]*(?:_[a-z0-9]+)+)",
    re.IGNORECASE,
)
"""How sentences name the successor of a field: OpenAI's "Unsupported parameter: 'max_tokens' is not supported with this
model. Use 'max_completion_tokens' instead." (https://developers.openai.com/api/docs/guides/reasoning), for example."""
_UNKNOWN = re.compile(
    r"unrecogni[sz]ed|unknown|unexpected|unsupported|not supported|not permitted|extra (?:inputs|fields)|未知|不支持",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    rf"{_UNKNOWN.pattern}|no longer|deprecated|does(?: not|n't) support|only the default", re.IGNORECASE
)
_PEERS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""The names of one field, of which older and newer servers of OpenAI's API know one each."""
CLOSING_SECONDS = 0.1
"""After a stream that has ended early: until its connection, which the server then closes, is not used again."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a request is put."""

    stream: bool = True
    usage: bool = True
    """Whether a stream is asked for its token counts, by OpenAI's `stream_options`."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Fields that have another name, and that name."""

    def fields(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return fields by the names that the server takes.

        Example:
            >>> Terms(renamed=(("max_tokens", "max_completion_tokens"),)).fields({"max_tokens": 5, "seed": 1})
            {'max_completion_tokens': 5, 'seed': 1}
        """
        names = dict(self.renamed)
        return {names.get(name, name): value for name, value in given.items() if names.get(name) not in given}


@dataclass(slots=True)
class Agreement:
    """The terms between a deployment and its server; they change with the server's refusals."""

    known: Terms = field(default_factory=Terms)
    not_with: frozenset[str] = frozenset()
    """Options with which the server does not stream."""
    renames: bool = False
    """Whether fields may be renamed: where requests are in OpenAI's schema."""

    def terms(self, options: Collection[str]) -> Terms:
        """Return how to put a request with these options.

        Example:
            >>> Agreement(not_with=frozenset({"tools"})).terms({"tools": []}).stream
            False
        """
        return replace(self.known, stream=False) if self.not_with.intersection(options) else self.known

    async def chunks(
        self,
        asked: Mapping[str, Any],
        defaults: Mapping[str, Any],
        attempt: Callable[[Terms], AsyncIterator[ChatChunk]],
    ) -> AsyncGenerator[ChatChunk, None]:
        """Yield the response; ask again, by other terms, while the server refuses these.

        Args:
            asked: the options of the request.
            defaults: those of the deployment.
            attempt: sends the request by the given terms, and yields the response.

        Raises:
            ByzerError: the request failed for another reason.
        """
        options = {name for name, value in {**defaults, **asked}.items() if value is not None}
        terms: Terms | None = self.terms(options)
        while terms is not None:
            begun = False
            try:
                async with aclosing(attempt(terms)) as items:  # type: ignore[type-var]  # async generators all
                    async for item in items:
                        begun = True
                        yield item
                    return
            except ByzerError as err:
                terms = None if begun else self._next(terms, err, options)
                if terms is None:
                    explain(err, asked, options)
                    raise
                if isinstance(err, StreamTruncated):
                    await asyncio.sleep(CLOSING_SECONDS)

    def _next(self, terms: Terms, err: ByzerError, options: Collection[str]) -> Terms | None:
        """Return by which terms to ask again after an error; None when it has nothing to do with the terms."""
        if isinstance(err, StreamTruncated) and terms.stream:  # some servers give the reason only without streaming
            return replace(terms, stream=False)
        sentence = str(err.message)
        if not terms.stream and re.search(
            r"stream|流式", sentence, re.IGNORECASE
        ):  # complete responses are refused, too
            self.known, self.not_with = replace(self.known, stream=True), frozenset()
            return None
        self.learn(sentence, options)
        better = self.terms(options)
        return None if better == terms or (better.stream and not terms.stream) else better

    def learn(self, sentence: str, options: Collection[str]) -> None:
        """Change the terms if a server's sentence refuses them.

        Example:
            >>> agreement = Agreement()
            >>> agreement.learn("Streaming is not supported by this model.", {})
            >>> agreement.terms({}).stream
            False
        """
        if re.search(r"stream_?options|include_usage", sentence, re.IGNORECASE):
            self.known = replace(self.known, usage=False)
        elif REFUSES_STREAM.search(sentence):
            named = {name for name, how in WITH_OPTION.items() if re.search(how, sentence, re.IGNORECASE)}
            if named := named.intersection(options):
                self.not_with |= named
            else:
                self.known = replace(self.known, stream=False)
        elif self.renames and (pair := successor(sentence, options)) and pair not in self.known.renamed:
            self.known = replace(self.known, renamed=(*self.known.renamed, pair))


def successor(sentence: str, options: Collection[str]) -> tuple[str, str] | None:
    """Return the option that a server's sentence refuses, and the name it has instead; None where there is none.

    Example:
        >>> successor("'max_tokens' is not supported. Use 'max_completion_tokens' instead.", {"max_tokens": 5})
        ('max_tokens', 'max_completion_tokens')
    """
    if found := _SUCCESSOR.search(sentence):
        old = refused(sentence, options)
        return (old, found["name"]) if old and found["name"] not in (old, *options) else None
    old = refused(sentence, options) if _UNKNOWN.search(sentence) else None
    peer = _PEERS.get(old or "")
    return (old, peer) if old and peer and peer not in options else None


def refused(sentence: str, options: Collection[str]) -> str | None:
    """Return the option that a sentence names first."""
    places = {name: match.start() for name in options if (match := re.search(rf"\b{re.escape(name)}\b", sentence))}
    return min(places, key=places.__getitem__, default=None)


def explain(err: ByzerError, asked: Collection[str], options: Collection[str]) -> None:
    """Give an error that refuses an option the next step: which one to leave out, and where it is set."""
    sentence = str(err.message)
    name = refused(sentence, options) if type(err) is BadRequest and _REFUSED.search(sentence) else None
    if name in asked:
        err.hint = _("Leave {name} out of the request.", name=name)
    elif name is not None:
        err.hint = _("Deploy the model again without saas.{name}.", name=name)
