"""The events of a streamed message: https://platform.claude.com/docs/en/build-with-claude/streaming."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from byzer_magic.gateway.meters import missing
from byzer_magic.gateway.tool_deltas import ToolDelta, ToolDeltas, finish_of
from byzer_magic.gateway.wires import sse
from byzer_magic.types import STOPPED_AT, ChatChunk, Usage

REASONS = {
    "stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use",
    "content_filter": "refusal",
}  # fmt: skip
"""Why an answer ends, in Anthropic's words."""


class Events:
    """Turns the chunks of one answer into events: blocks that begin, grow and end one after the other.

    Args:
        identity: of the message.
        model: the name by which the client has asked.
        stops: the stop sequences of the request.
    """

    def __init__(self, identity: str, model: str, stops: Sequence[str] = ()) -> None:
        self._stops = stops
        self._extra: dict[str, Any] = {}
        self._identity = identity
        self._model = model
        self._index = -1
        self._open = ""
        """The kind of the block that is open: `text`, `thinking`, or the number of a tool call."""
        self._tools = ToolDeltas(in_turn=True)
        self._after: list[ChatChunk] = []
        """What has come while a tool call is not complete: its block must stay open."""
        self._finish: str | None = None

    def begin(self) -> bytes:
        """Return the first event."""
        message = message_of(self._identity, self._model, [], None, None)
        return sse({"type": "message_start", "message": message}, "message_start")

    def of(self, chunk: ChatChunk) -> bytes:
        """Return the events of a chunk; nothing where it has nothing to show."""
        self._after.append(chunk)
        found = [] if self._tools.is_open else self._others()
        for call in self._tools.add(chunk.tool_calls or ()):
            found += self._call(call)
        self._finish = chunk.finish or self._finish
        if chunk.finish and chunk.extra:
            self._extra = chunk.extra
        return b"".join(found if self._tools.is_open else [*found, *self._others()])

    def _others(self) -> list[bytes]:
        """Return the events of what is no tool call."""
        chunks, self._after = self._after, []
        return [event for chunk in chunks for event in self._shown(chunk)]

    def _shown(self, chunk: ChatChunk) -> list[bytes]:
        found: list[bytes] = []
        if chunk.reasoning:
            found += self._block("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            found.append(self._piece({"type": "thinking_delta", "thinking": chunk.reasoning}))
        if chunk.extra and (signature := chunk.extra.get("signature")) and self._open == "thinking":
            found.append(self._piece({"type": "signature_delta", "signature": signature}))
            found += self._close()  # what is thought after it has a signature of its own
        if chunk.extra and (data := chunk.extra.get("redacted_thinking")):
            found += [*self._block("redacted", {"type": "redacted_thinking", "data": data}), *self._close()]
        if chunk.text:
            found += self._block("text", {"type": "text", "text": ""})
            found.append(self._piece({"type": "text_delta", "text": chunk.text}))
        return found

    def end(self, usage: Usage | None) -> bytes:
        """Return the last events."""
        delta = end_of(self._finish, self._extra, self._stops, called=self._tools.any)
        last = {"type": "message_delta", "delta": delta, "usage": usage_of(usage)}
        rest = [event for call in self._tools.end() for event in self._call(call)]
        return b"".join(
            [
                *rest,
                *self._others(),
                *self._close(),
                sse(last, "message_delta"),
                sse({"type": "message_stop"}, "message_stop"),
            ]
        )

    def _call(self, call: ToolDelta) -> list[bytes]:
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        found = self._block(str(call.index), block)
        if call.arguments:
            found.append(self._piece({"type": "input_json_delta", "partial_json": call.arguments}))
        return found

    def _block(self, kind: str, start: dict[str, Any]) -> list[bytes]:
        """Return the events that open a block, where it is not open."""
        if self._open == kind:
            return []
        closed = self._close()
        self._open = kind
        self._index += 1
        begun = {"type": "content_block_start", "index": self._index, "content_block": start}
        return [*closed, sse(begun, "content_block_start")]

    def _close(self) -> list[bytes]:
        if not self._open:
            return []
        self._open = ""
        return [sse({"type": "content_block_stop", "index": self._index}, "content_block_stop")]

    def _piece(self, delta: dict[str, Any]) -> bytes:
        return sse({"type": "content_block_delta", "index": self._index, "delta": delta}, "content_block_delta")


def add_thoughts(blocks: list[dict[str, Any]], chunk: ChatChunk) -> None:
    """Add what a chunk has of the model's thoughts to their blocks: Claude checks each with its signature again.

    Example:
        >>> blocks = []
        >>> for chunk in (ChatChunk(reasoning="a"), ChatChunk(extra={"signature": "s"}), ChatChunk(reasoning="b")):
        ...     add_thoughts(blocks, chunk)
        >>> [(block["thinking"], block["signature"]) for block in blocks]
        [('a', 's'), ('b', '')]
    """
    extra = chunk.extra or {}
    if chunk.reasoning:
        if not blocks or blocks[-1].get("signature") != "":
            blocks.append({"type": "thinking", "thinking": "", "signature": ""})
        blocks[-1]["thinking"] += chunk.reasoning
    if (signature := extra.get("signature")) and blocks and "signature" in blocks[-1]:
        blocks[-1]["signature"] = signature
    if data := extra.get("redacted_thinking"):
        blocks.append({"type": "redacted_thinking", "data": data})


def end_of(finish: str | None, extra: Mapping[str, Any], stops: Sequence[str], *, called: bool) -> dict[str, Any]:
    """Return why an answer ends, and at which stop sequence, as far as the provider tells.

    Args:
        finish: OpenAI's reason.
        extra: what the provider's answer has besides.
        stops: the stop sequences of the request.
        called: whether there was a tool call.

    Example:
        >>> end_of("length", {}, [], called=False), end_of(None, {}, [], called=True)["stop_reason"]
        ({'stop_reason': 'max_tokens', 'stop_sequence': None}, 'tool_use')
        >>> end_of("stop", {"stop_sequence": "END"}, ["END", "."], called=False)
        {'stop_reason': 'stop_sequence', 'stop_sequence': 'END'}
    """
    reason = REASONS.get(finish_of(finish, called=called), "end_turn")
    at = extra.get(STOPPED_AT)
    if reason != "end_turn" or not stops or (at not in stops and at != ""):
        return {"stop_reason": reason, "stop_sequence": None}
    return {"stop_reason": "stop_sequence", "stop_sequence": at or (stops[0] if len(stops) == 1 else None)}


def usage_of(usage: Usage | None) -> dict[str, int]:
    """Return token counts as Anthropic has them."""
    found = usage or Usage()
    return {
        "input_tokens": found.prompt_tokens, "output_tokens": found.completion_tokens,
        "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, **missing(usage),
    }  # fmt: skip


def message_of(
    identity: str, model: str, content: list[dict[str, Any]], end: Mapping[str, Any] | None, usage: Usage | None
) -> dict[str, Any]:
    """Return a message; `end` is why it ends, as `end_of` returns it, or None while it goes on."""
    return {
        "id": identity, "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": None, "stop_sequence": None, **(end or {}), "usage": usage_of(usage),
    }  # fmt: skip
