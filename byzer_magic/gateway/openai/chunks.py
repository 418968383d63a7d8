"""The events of a streamed chat completion: https://developers.openai.com/api/reference/resources/chat (chunk object).

Most events of a stream are a piece of text: all that is around it is encoded once.
"""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from byzer_magic.gateway.meters import missing
from byzer_magic.gateway.tool_deltas import ToolDeltas, finish_of
from byzer_magic.types import ChatChunk, Usage

encode = msgspec.json.encode
DONE = b"data: [DONE]\n\n"
MOST = 128
"""Answers to one request."""


class Chunks:
    """Turns the chunks of one answer into events.

    Args:
        identity: of the completion.
        created: seconds since 1970.
        model: the name by which the client has asked.
        usage: whether the last event has the token counts.
        index: which of several answers it is.
    """

    def __init__(self, identity: str, created: int, model: str, *, usage: bool, index: int = 0) -> None:
        head = {"id": identity, "object": "chat.completion.chunk", "created": created, "model": model}
        self._head = b"data: " + encode({**head, "system_fingerprint": None})[:-1] + b',"choices":['
        self._tail = b'],"usage":null}\n\n' if usage else b"]}\n\n"
        self._text = self._head + b'{"index":%d,"delta":{"content":' % index
        self._after = b'},"logprobs":null,"finish_reason":null}' + self._tail
        self._usage = usage
        self._index = index
        self._another = functools.partial(Chunks, identity, created, model, usage=usage)
        self._others: dict[int, Chunks] = {}
        """The choices after the first, where a provider gives them in one stream."""
        self._tools = ToolDeltas()
        self.finish: str | None = None

    def begin(self) -> bytes:
        """Return the first event."""
        return self._event({"role": "assistant", "content": "", "refusal": None})

    def of(self, chunk: ChatChunk) -> bytes:
        """Return the events of a chunk; nothing where it has nothing to show."""
        if chunk.text and not (chunk.reasoning or chunk.tool_calls or chunk.extra or chunk.finish):
            return self._text + encode(chunk.text) + self._after
        found: list[bytes] = []
        if chunk.reasoning:
            found.append(self._event({"reasoning_content": chunk.reasoning}))
        extra = chunk.extra or {}
        if chunk.text or extra.get("logprobs"):
            delta = {"content": chunk.text} if chunk.text else {}
            found.append(self._event(delta, logprobs=extra.get("logprobs")))
        for call in self._tools.add(chunk.tool_calls or ()):
            function = {"name": call.name, "arguments": call.arguments} if call.name else {"arguments": call.arguments}
            begun = {"id": call.id, "type": "function"} if call.name else {}
            found.append(self._event({"tool_calls": [{"index": call.index, **begun, "function": function}]}))
        found += [self._of_choice(choice) for choice in extra.get("choices") or () if 0 < choice["index"] < MOST]
        self.finish = chunk.finish or self.finish
        return b"".join(found)

    def end(self) -> bytes:
        """Return the event with the reason why the answer ends, and those of its other choices."""
        own = self._event({}, finish=finish_of(self.finish, called=self._tools.any))
        return own + b"".join(other.end() for other in self._others.values())

    def counts(self, usage: Usage | None) -> bytes:
        """Return the event with the token counts, where it is asked for."""
        if not self._usage:
            return b""
        return self._head + b'],"usage":' + encode(usage_of(usage)) + b"}\n\n"

    def _event(self, delta: dict[str, Any], *, finish: str | None = None, logprobs: Any = None) -> bytes:
        choice = {"index": self._index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return self._head + encode(choice) + self._tail

    def _of_choice(self, delta: dict[str, Any]) -> bytes:
        """Return the events of what is new of a choice after the first, which has tool calls of its own."""
        number = delta["index"]
        begun = b""
        for each in range(len(self._others) + 1, number + 1):  # clients count on their order
            self._others[each] = self._another(index=each)
            begun += self._others[each].begin()
        chunk = ChatChunk(
            delta.get("text") or "", delta.get("reasoning") or "", delta.get("finish"), None, delta.get("tool_calls"),
            {"logprobs": delta.get("logprobs")},
        )  # fmt: skip
        return begun + self._others[number].of(chunk)


def usage_of(usage: Usage | None) -> dict[str, int]:
    """Return token counts as OpenAI has them; zeros where a backend does not count.

    Example:
        >>> usage_of(Usage(2, 3))["total_tokens"]
        5
    """
    found = usage or Usage()
    return {
        "prompt_tokens": found.prompt_tokens,
        "completion_tokens": found.completion_tokens,
        "total_tokens": found.total_tokens,
        **missing(usage),
    }
