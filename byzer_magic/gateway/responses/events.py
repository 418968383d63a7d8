"""An answer as the items and the events of the Responses API; both are made by the same steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from byzer_magic.gateway.meters import missing
from byzer_magic.gateway.problems import Problem
from byzer_magic.gateway.tool_deltas import ToolDelta, ToolDeltas
from byzer_magic.gateway.wires import sse
from byzer_magic.types import ChatChunk, Usage

Event = dict[str, Any]


class Answer:
    """Takes the chunks of one answer; gives its events, and at the end the response with all its items.

    Args:
        identity: of the response.
        asked: the fields of the request that a response repeats.
    """

    def __init__(self, identity: str, asked: dict[str, Any]) -> None:
        self._identity = identity
        self._asked = asked
        self._created = int(time.time())
        self.output: list[dict[str, Any]] = []
        self._open = ""
        """What is open: `message`, `reasoning`, or the number of a tool call."""
        self._tools = ToolDeltas(in_turn=True)
        self._after: list[ChatChunk] = []
        """What has come while a tool call is not complete: its item must stay open."""
        self._numbers = 0
        self._finish: str | None = None

    def begin(self) -> Iterator[Event]:
        """Yield the first events."""
        for kind in ("response.created", "response.in_progress"):
            yield {"type": kind, "response": self.response("in_progress", None)}

    def take(self, chunk: ChatChunk) -> Iterator[Event]:
        """Yield the events of a chunk."""
        self._after.append(chunk)
        if not self._tools.is_open:
            yield from self._others()
        for call in self._tools.add(chunk.tool_calls or ()):
            yield from self._call(call)
        self._finish = chunk.finish or self._finish
        if not self._tools.is_open:
            yield from self._others()

    def _others(self) -> Iterator[Event]:
        """Yield the events of what is no tool call."""
        chunks, self._after = self._after, []
        for chunk in chunks:
            if chunk.reasoning:
                yield from self._grow("reasoning", chunk.reasoning)
            if chunk.text:
                yield from self._grow("message", chunk.text)

    def end(self, usage: Usage | None) -> Iterator[Event]:
        """Yield the last events."""
        for call in self._tools.end():
            yield from self._call(call)
        yield from self._others()
        yield from self._close()
        status = "incomplete" if self._finish in ("length", "content_filter") else "completed"
        yield {"type": f"response.{status}", "response": self.response(status, usage)}

    def fail(self, problem: Problem, usage: Usage | None) -> Iterator[Event]:
        """Yield the last event of an answer that cannot be completed."""
        if self._open:
            self.output[-1]["status"] = "incomplete"
        error = {"code": "rate_limit_exceeded" if problem.status == 429 else "server_error", "message": problem.message}
        yield {"type": "response.failed", "response": {**self.response("failed", usage), "error": error}}

    def response(self, status: str, usage: Usage | None) -> dict[str, Any]:
        """Return the response as it is now."""
        why = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(self._finish or "")
        counted = usage is not None or status not in ("in_progress", "failed")
        return {
            "id": self._identity, "object": "response", "created_at": self._created, "status": status, "error": None,
            "incomplete_details": {"reason": why} if status == "incomplete" else None,
            "output": [*self.output], **self._asked, "usage": _usage(usage) if counted else None,
        }  # fmt: skip

    def encoded(self, events: Iterator[Event]) -> bytes:
        """Return events for a stream, numbered."""
        found = []
        for event in events:
            found.append(sse({**event, "sequence_number": self._numbers}, event["type"]))
            self._numbers += 1
        return b"".join(found)

    # ---- items

    @property
    def _at(self) -> dict[str, Any]:
        """Return where the item is that is open."""
        return {"item_id": self.output[-1]["id"], "output_index": len(self.output) - 1}

    def _grow(self, kind: str, text: str) -> Iterator[Event]:
        """Add text to a message or to the reasoning; one that is not open begins."""
        name = _PARTS[kind]
        if self._open != kind:
            yield from self._close()
            yield from self._begin(kind, _item(kind, f"{_PREFIXES[kind]}_{self._identity}_{len(self.output)}"))
            part = {"type": name, "text": "", **_MORE[kind]}
            self.output[-1]["content"].append(part)
            yield {"type": "response.content_part.added", **self._at, "content_index": 0, "part": {**part}}
        self.output[-1]["content"][0]["text"] += text
        more: Event = {"logprobs": []} if kind == "message" else {}
        yield {"type": f"response.{name}.delta", **self._at, "content_index": 0, "delta": text, **more}

    def _call(self, call: ToolDelta) -> Iterator[Event]:
        if call.name:
            yield from self._close()
            item = {
                "id": f"fc_{self._identity}_{len(self.output)}", "type": "function_call", "status": "in_progress",
                "call_id": call.id, "name": call.name, "arguments": "",
            }  # fmt: skip
            yield from self._begin(str(call.index), item)
        if call.arguments:
            self.output[-1]["arguments"] += call.arguments
            yield {"type": "response.function_call_arguments.delta", **self._at, "delta": call.arguments}

    def _begin(self, kind: str, item: dict[str, Any]) -> Iterator[Event]:
        self._open = kind
        self.output.append(item)
        shown = {**item, "content": []} if "content" in item else {**item}
        yield {"type": "response.output_item.added", "output_index": len(self.output) - 1, "item": shown}

    def _close(self) -> Iterator[Event]:
        if not self._open:
            return
        kind, self._open, item = self._open, "", self.output[-1]
        if kind in _PARTS:
            part, name = item["content"][0], _PARTS[kind]
            more: Event = {"logprobs": []} if kind == "message" else {}
            yield {"type": f"response.{name}.done", **self._at, "content_index": 0, "text": part["text"], **more}
            yield {"type": "response.content_part.done", **self._at, "content_index": 0, "part": part}
        else:
            about = {"name": item["name"], "arguments": item["arguments"]}
            yield {"type": "response.function_call_arguments.done", **self._at, **about}
        item["status"] = "completed"
        yield {"type": "response.output_item.done", "output_index": len(self.output) - 1, "item": item}


_PARTS = {"message": "output_text", "reasoning": "reasoning_text"}
_PREFIXES = {"message": "msg", "reasoning": "rs"}
_MORE: dict[str, dict[str, Any]] = {"message": {"annotations": [], "logprobs": []}, "reasoning": {}}


def _item(kind: str, identity: str) -> dict[str, Any]:
    if kind == "reasoning":
        return {"id": identity, "type": "reasoning", "summary": [], "content": [], "status": "in_progress"}
    return {"id": identity, "type": "message", "status": "in_progress", "role": "assistant", "content": []}


def _usage(usage: Usage | None) -> dict[str, Any]:
    found = usage or Usage()
    return {
        "input_tokens": found.prompt_tokens,
        "input_tokens_details": {"cached_tokens": found.cached_tokens},
        "output_tokens": found.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": found.total_tokens,
        **missing(usage),
    }


def as_message(output: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the items of an answer as the message with which its conversation goes on."""
    texts = [part["text"] for item in output if item["type"] == "message" for part in item["content"]]
    calls = [
        {
            "id": item["call_id"], "type": "function",
            "function": {"name": item["name"], "arguments": item["arguments"] or "{}"},
        }
        for item in output
        if item["type"] == "function_call"
    ]  # fmt: skip
    return {"role": "assistant", "content": "".join(texts) or None, **({"tool_calls": calls} if calls else {})}
